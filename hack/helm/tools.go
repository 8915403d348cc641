//go:build tools

// Package helm pins the helm program as a Go module; __init__.py builds it.
package helm

import _ "helm.sh/helm/v3/cmd/helm"
