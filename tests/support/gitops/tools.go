//go:build tools

// Flux's own kinds, of which controller-gen makes their CRDs as Flux itself does. Argo CD's module has its CRDs as files.
package main

import (
	_ "github.com/fluxcd/helm-controller/api/v2"
	_ "github.com/fluxcd/kustomize-controller/api/v1"
	_ "github.com/fluxcd/source-controller/api/v1"
	_ "sigs.k8s.io/controller-tools/cmd/controller-gen"
)
