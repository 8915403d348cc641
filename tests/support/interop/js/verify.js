// Reads requests as hack/interop.py writes them, and prints how many the official library verifies (v1), and how many
// an ed25519 of another origin than the sender's does (v1a: Node.js's own).
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const SPKI = Buffer.from("302a300506032b6570032100", "hex"); // RFC 8410: what stands before the 32 bytes of a public key

function v1(request) {
  const headers = {
    "webhook-id": request.id,
    "webhook-timestamp": request.timestamp,
    "webhook-signature": request.signature,
  };
  try {
    for (const secret of request.secrets) new Webhook(secret).verify(request.body.toString(), headers);
    return true;
  } catch {
    return false;
  }
}

function v1a(request) {
  const signed = Buffer.concat([Buffer.from(`${request.id}.${request.timestamp}.`), request.body]);
  const signatures = request.signature.split(" ").filter((entry) => entry.startsWith("v1a,"));
  return request.publicKeys.every((key) => {
    const raw = Buffer.from(key.slice("whpk_".length), "base64");
    const known = createPublicKey({ key: Buffer.concat([SPKI, raw]), format: "der", type: "spki" });
    return signatures.some((entry) => verify(null, signed, known, Buffer.from(entry.slice(4), "base64")));
  });
}

const counts = { requests: 0, v1: 0, v1a: 0 };
for (const line of readFileSync(process.argv[2], "utf8").split("\n")) {
  if (line === "") continue;
  const [id, timestamp, signature, secrets, publicKeys, body] = line.split("\t");
  const request = { id, timestamp, signature, secrets: secrets.split(" "), publicKeys: publicKeys.split(" ") };
  request.body = Buffer.from(body, "base64");
  counts.requests += 1;
  counts.v1 += v1(request);
  counts.v1a += v1a(request);
}
console.log(JSON.stringify(counts));
