package main

import (
	"context"
	"flag"

	"k8s.io/client-go/kubernetes"

	"devcluster/internal/life"
	"devcluster/internal/proxy"
)

// proxyPart runs the service proxy of the machine. It keeps forwarding when the control plane dies.
func proxyPart(*flag.FlagSet) func(context.Context, *life.Claim) error {
	return func(ctx context.Context, claim *life.Claim) error {
		certificates, server, err := openCluster(claim.Dir)
		if err != nil {
			return err
		}
		// The rights of kube-proxy: its user is bound to system:node-proxier by kube-apiserver itself.
		config, err := component(certificates, server, "proxy", "system:kube-proxy")
		if err != nil {
			return err
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		return proxy.Run(ctx, client, claim.Ready)
	}
}
