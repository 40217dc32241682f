package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"

	"devcluster/internal/mirror"
)

const (
	dialTimeout    = 2 * time.Second
	relisten       = 2 * time.Second // after an address could not be listened on
	maxConnections = 4096            // of one ClusterIP:port
)

// Run forwards until ctx ends; ready is called once the first plan is in force.
func Run(ctx context.Context, client kubernetes.Interface, ready func() error) error {
	everything := fields.Everything()
	services := mirror.Start(ctx, client.CoreV1().RESTClient(), "services", everything, &corev1.Service{})
	endpoints := mirror.Start(ctx, client.DiscoveryV1().RESTClient(), "endpointslices", everything, &discoveryv1.EndpointSlice{})
	if errors.Join(services.Wait(ctx), endpoints.Wait(ctx)) != nil {
		return nil // ended before the API server answered
	}
	t := table{fronts: map[string]*front{}}
	defer t.apply(nil)
	t.apply(plan(services.All(), endpoints.All()))
	if err := ready(); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-services.Changed:
		case <-endpoints.Changed:
		case <-time.After(relisten):
		}
		t.apply(plan(services.All(), endpoints.All()))
	}
}

// table is every ClusterIP:port of the plan in force.
type table struct{ fronts map[string]*front }

func (t *table) apply(wanted map[string]backends) {
	for address, f := range t.fronts {
		if _, ok := wanted[address]; !ok {
			f.update(backends{})
			delete(t.fronts, address)
		}
	}
	for address, b := range wanted {
		f := t.fronts[address]
		if f == nil {
			f = &front{address: address, open: map[net.Conn]string{}}
			t.fronts[address] = f
		}
		f.update(b)
	}
}

// front is one ClusterIP:port. It listens only while there is a ready endpoint, so that a client is refused otherwise.
type front struct {
	address string

	mu       sync.Mutex
	backends backends
	next     int
	listener net.Listener
	problem  string
	open     map[net.Conn]string // client's connection -> endpoint
}

func (f *front) update(b backends) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.backends = b
	for connection, endpoint := range f.open {
		if !slices.Contains(b.known, endpoint) {
			cut(connection)
		}
	}
	switch {
	case len(b.ready) == 0 && f.listener != nil:
		_ = f.listener.Close()
		f.listener = nil
	case len(b.ready) > 0 && f.listener == nil:
		f.listen()
	}
}

func (f *front) listen() {
	listener, err := net.Listen("tcp", f.address)
	if err != nil {
		if f.problem != err.Error() { // once, although it is tried again and again
			f.problem = err.Error()
			fmt.Printf("service %s is not reachable: %v (ports below 1024 may need root)\n", f.address, err)
		}
		return
	}
	f.problem, f.listener = "", listener
	go func() {
		for {
			connection, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // no file descriptors left: they will come back
				time.Sleep(50 * time.Millisecond)
				continue
			}
			go f.forward(connection)
		}
	}()
}

func (f *front) forward(client net.Conn) {
	defer client.Close()
	server, endpoint := f.dial()
	if server == nil {
		cut(client)
		return
	}
	defer server.Close()
	if !f.admit(client, endpoint) {
		cut(client)
		return
	}
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.open, client)
	}()
	var sides sync.WaitGroup
	sides.Go(func() { pipe(server, client) })
	sides.Go(func() { pipe(client, server) })
	sides.Wait()
}

// dial tries the ready endpoints in turn, each once.
func (f *front) dial() (net.Conn, string) {
	f.mu.Lock()
	ready, first := f.backends.ready, f.next
	f.next++
	f.mu.Unlock()
	for i := range ready {
		endpoint := ready[(first+i)%len(ready)]
		if server, err := net.DialTimeout("tcp", endpoint, dialTimeout); err == nil {
			return server, endpoint
		}
	}
	return nil, ""
}

// admit is false when the endpoint went away while it was dialled, or the front is full.
func (f *front) admit(client net.Conn, endpoint string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.backends.known, endpoint) || len(f.open) >= maxConnections {
		return false
	}
	f.open[client] = endpoint
	return true
}

// pipe copies one direction and passes its end on; an error ends both.
func pipe(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		_ = to.Close()
		_ = from.Close()
		return
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// cut resets a connection, so that the client sees an error and no orderly end.
func cut(connection net.Conn) {
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = connection.Close()
}
