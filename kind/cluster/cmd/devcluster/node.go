package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"devcluster/internal/life"
	"devcluster/internal/pki"
	"devcluster/internal/procnode"
)

// nodePart runs one node. It lives on when the control plane dies; its containers die with it.
func nodePart(set *flag.FlagSet) func(context.Context, *life.Claim) error {
	labels := map[string]string{}
	name := set.String("name", "", "name of the node")
	network := set.String("pod-network", "127.0.1.0/24", "network of pod addresses inside 127.0.0.0/8; one per node")
	images := set.String("images", "", "JSON file: image name -> command that stands for its entrypoint")
	set.Func("label", "KEY=VALUE (repeatable)", func(text string) error {
		key, value, _ := strings.Cut(text, "=")
		labels[key] = value
		return nil
	})
	return func(ctx context.Context, claim *life.Claim) error {
		if *name == "" {
			return errors.New("--name is missing")
		}
		entrypoints, err := readImages(*images)
		if err != nil {
			return err
		}
		pool, err := procnode.NewPool(*network)
		if err != nil {
			return err
		}
		certificates, server, err := openCluster(claim.Dir)
		if err != nil {
			return err
		}
		if err := certificates.Server("kubelet-"+*name, "127.0.0.1", *name); err != nil {
			return err
		}
		config, err := component(certificates, server, "node-"+*name, "system:node:"+*name, "system:nodes")
		if err != nil {
			return err
		}
		return procnode.Run(ctx, procnode.Options{
			Name: *name, Labels: labels, Dir: filepath.Join(claim.Dir, "node-"+*name), Images: entrypoints, PodNet: pool,
			Config: config, API: server, CAFile: certificates.File("ca.crt"),
			Cert: certificates.File("kubelet-" + *name + ".crt"), Key: certificates.File("kubelet-" + *name + ".key"),
			Ready: claim.Ready,
		})
	}
}

func readImages(path string) (map[string][]string, error) {
	images := map[string][]string{}
	if path == "" {
		return images, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &images); err != nil {
		return nil, fmt.Errorf("%s: want {\"image\": [\"command\", ...]}: %w", path, err)
	}
	return images, nil
}

// openCluster finds the certificate authority and the API's address in the directory of a control plane that has run.
func openCluster(dir string) (*pki.Dir, string, error) {
	certificates, err := pki.Open(filepath.Join(dir, "pki"))
	if err != nil {
		return nil, "", fmt.Errorf("no cluster in %s, start its control plane first: %w", dir, err)
	}
	admin, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, "kubeconfig"))
	if err != nil {
		return nil, "", err
	}
	return certificates, admin.Host, nil
}

// component makes the client configuration of one part of the cluster, with a certificate for its Kubernetes user.
func component(certificates *pki.Dir, server, name, user string, groups ...string) (*rest.Config, error) {
	if err := certificates.Client(name, user, groups...); err != nil {
		return nil, err
	}
	return &rest.Config{
		Host: server, QPS: 100, Burst: 200,
		TLSClientConfig: rest.TLSClientConfig{
			CAFile: certificates.File("ca.crt"), CertFile: certificates.File(name + ".crt"), KeyFile: certificates.File(name + ".key"),
		},
	}, nil
}
