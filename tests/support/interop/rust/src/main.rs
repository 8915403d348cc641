//! Reads requests as hack/interop.py writes them, and prints how many the official library verifies (v1).

use base64::{engine::general_purpose::STANDARD, Engine};
use http::{HeaderMap, HeaderValue};
use standardwebhooks::Webhook;

fn v1(id: &str, timestamp: &str, signature: &str, secrets: &str, body: &[u8]) -> bool {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("webhook-id", id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", signature),
    ] {
        headers.insert(name, HeaderValue::from_str(value).expect("a header's value"));
    }
    secrets.split(' ').all(|secret| {
        let webhook = Webhook::new(secret).expect("a secret");
        webhook.verify(body, &headers).is_ok()
    })
}

fn main() {
    let path = std::env::args().nth(1).expect("a file of requests");
    let text = std::fs::read_to_string(path).expect("a readable file");
    let (mut requests, mut verified) = (0, 0);
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let body = STANDARD.decode(fields[5]).expect("base64");
        requests += 1;
        verified += usize::from(v1(fields[0], fields[1], fields[2], fields[3], &body));
    }
    println!("{{\"requests\":{requests},\"v1\":{verified}}}");
}
