//go:build tools

// Package tools names what the definitions of the Prometheus Operator are made of, so that go.mod keeps its versions.
package tools

import (
	_ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	_ "sigs.k8s.io/controller-tools/cmd/controller-gen"
)
