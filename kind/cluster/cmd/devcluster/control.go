package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"devcluster/internal/control"
	"devcluster/internal/controllers"
	"devcluster/internal/life"
)

// controlPart runs the control plane. A restart in the same directory keeps data, port and certificates.
func controlPart(set *flag.FlagSet) func(context.Context, *life.Claim) error {
	services := set.String("service-network", "127.96.0.0/16", "network of ClusterIPs; the same at each start")
	return func(ctx context.Context, claim *life.Claim) error {
		started := time.Now()
		// The API outlives its clients: they end on the signal, it ends after them.
		apiContext, stopAPI := context.WithCancel(context.Background())
		api, err := control.Start(ctx, apiContext, control.Options{Dir: claim.Dir, Services: *services})
		defer func() {
			stopAPI()
			api.Stop()
		}()
		if err != nil {
			return err
		}
		ctx, abort := context.WithCancelCause(ctx)
		defer abort(nil)
		start := func(name string, run func(context.Context) error) {
			if err := run(ctx); ctx.Err() == nil {
				abort(fmt.Errorf("%s ended: %w", name, err))
			}
		}
		go start("kube-controller-manager", func(ctx context.Context) error { return controllers.RunManager(ctx, api) })
		go start("kube-scheduler", func(ctx context.Context) error { return controllers.RunScheduler(ctx, api) })
		client, err := kubernetes.NewForConfig(api.Config)
		if err != nil {
			return err
		}
		if err := awaitAccount(ctx, client); err == nil {
			if err := claim.Ready(); err != nil {
				return err
			}
			fmt.Printf("control plane ready after %.1f s: KUBECONFIG=%s\n", time.Since(started).Seconds(), api.Kubeconfig)
		}
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			return cause
		}
		return nil
	}
}

// awaitAccount waits until pods can be created: their admission needs the namespace's default ServiceAccount.
func awaitAccount(ctx context.Context, client kubernetes.Interface) error {
	return wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
}
