// Judge says what Flux and Argo CD think of objects, with the code that they themselves use.
//
// In, on stdin: JSON with cases, each an object as the API server has it ("live"), and where differences are asked for
// what Git has ("wanted") and what a server-side dry run answered ("predicted"); and health checks in Lua by group and
// kind. Out, on stdout: JSON with an opinion for each case.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type question struct {
	Live      *unstructured.Unstructured `json:"live"`
	Wanted    *unstructured.Unstructured `json:"wanted"`
	Predicted json.RawMessage            `json:"predicted"`
}

type opinion struct {
	Kstatus status.Status `json:"kstatus"`
	// Argo is null where Argo CD has no opinion.
	Argo *health.HealthStatus `json:"argo"`
	// OutOfSync: by Argo CD's own comparison; OutOfSyncServerSide: with ServerSideDiff=true.
	OutOfSync           bool `json:"outOfSync"`
	OutOfSyncServerSide bool `json:"outOfSyncServerSide"`
}

// answered hands back what the API server answered to the dry run that Argo CD would make now.
type answered string

func (text answered) Run(context.Context, *unstructured.Unstructured, string) (string, error) {
	return string(text), nil
}

func judge(asked question, checks health.HealthOverride) (opinion, error) {
	computed, err := status.Compute(asked.Live.DeepCopy())
	if err != nil {
		return opinion{}, err
	}
	argo, err := health.GetResourceHealth(asked.Live.DeepCopy(), checks)
	if err != nil {
		return opinion{}, err
	}
	result := opinion{Kstatus: computed.Status, Argo: argo}
	if asked.Wanted == nil {
		return result, nil
	}
	found, err := diff.Diff(asked.Wanted.DeepCopy(), asked.Live.DeepCopy())
	if err != nil {
		return opinion{}, err
	}
	result.OutOfSync = found.Modified
	if asked.Predicted != nil {
		found, err = diff.Diff(asked.Wanted.DeepCopy(), asked.Live.DeepCopy(), diff.WithServerSideDiff(true),
			diff.WithServerSideDryRunner(answered(asked.Predicted)), diff.WithManager("argocd-controller"),
			diff.WithIgnoreMutationWebhook(false))
		if err != nil {
			return opinion{}, err
		}
		result.OutOfSyncServerSide = found.Modified
	}
	return result, nil
}

func run() error {
	var asked struct {
		Cases  []question        `json:"cases"`
		Checks map[string]string `json:"checks"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	checks := lua.ResourceHealthOverrides{}
	for kind, script := range asked.Checks {
		checks[kind] = v1alpha1.ResourceOverride{HealthLua: script}
	}
	opinions := []opinion{}
	for _, each := range asked.Cases {
		result, err := judge(each, checks)
		if err != nil {
			return err
		}
		opinions = append(opinions, result)
	}
	return json.NewEncoder(os.Stdout).Encode(opinions)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
