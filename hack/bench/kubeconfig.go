package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
)

// kubeconfig is what is read of a kubeconfig with one cluster and one user. Its bytes are base64 in the file.
type kubeconfig struct {
	Clusters []struct {
		Cluster struct {
			Server    string `json:"server"`
			Authority []byte `json:"certificate-authority-data"`
		} `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		User struct {
			Certificate []byte `json:"client-certificate-data"`
			Key         []byte `json:"client-key-data"`
		} `json:"user"`
	} `json:"users"`
}

// apiServer is an API server with credentials for it. Every client that it makes has connections of its own.
type apiServer struct {
	url string
	tls *tls.Config
}

// connect reads a kubeconfig file in JSON (the test control plane writes it so), with all credentials inside.
func connect(path string) (*apiServer, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var config kubeconfig
	if err := json.Unmarshal(content, &config); err != nil {
		return nil, fmt.Errorf("%s: must be JSON, as hack/controlplane writes it: %w", path, err)
	}
	if len(config.Clusters) != 1 || len(config.Users) != 1 {
		return nil, fmt.Errorf("%s: must have one cluster and one user", path)
	}
	cluster, user := config.Clusters[0].Cluster, config.Users[0].User
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(cluster.Authority) {
		return nil, fmt.Errorf("%s: certificate-authority-data holds no certificate", path)
	}
	certificate, err := tls.X509KeyPair(user.Certificate, user.Key)
	if err != nil {
		return nil, fmt.Errorf("%s: client-certificate-data and client-key-data: %w", path, err)
	}
	return &apiServer{cluster.Server, &tls.Config{RootCAs: authorities, Certificates: []tls.Certificate{certificate}}}, nil
}

// client speaks HTTP/2 and gives up on a server that does not begin to answer.
func (s *apiServer) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:       s.tls.Clone(),
		ForceAttemptHTTP2:     true,
		ResponseHeaderTimeout: 30 * time.Second,
	}}
}

func (s *apiServer) configMaps(namespace string) string {
	return s.url + "/api/v1/namespaces/" + namespace + "/configmaps"
}
