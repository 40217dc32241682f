// Package mirror keeps a local copy of a list of API objects. It is what a shared informer is, except that it comes back half
// a second after the API server does: informers back off up to a minute, and here the API server is killed on purpose.
package mirror

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
)

const retry = 500 * time.Millisecond

// Mirror is the copy. It keeps its content while the API server is away.
type Mirror[T runtime.Object] struct {
	cache.Store
	// Changed has one element after any number of changes.
	Changed chan struct{}
	once    sync.Once
	synced  chan struct{}
}

// Start begins to copy.
func Start[T runtime.Object](ctx context.Context, client cache.Getter, resource string, selector fields.Selector, example T) *Mirror[T] {
	m := &Mirror[T]{Store: cache.NewStore(cache.MetaNamespaceKeyFunc), Changed: make(chan struct{}, 1), synced: make(chan struct{})}
	source := cache.NewListWatchFromClient(client, resource, "", selector)
	reflector := cache.NewReflectorWithOptions(source, example, m, cache.ReflectorOptions{Name: resource, Backoff: &wait.Backoff{Duration: retry}})
	go reflector.RunWithContext(ctx)
	return m
}

// Wait returns when the first whole list is here.
func (m *Mirror[T]) Wait(ctx context.Context) error {
	select {
	case <-m.synced:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// All returns the objects; they are shared and must not be changed.
func (m *Mirror[T]) All() []T {
	list := m.List()
	out := make([]T, 0, len(list))
	for _, object := range list {
		out = append(out, object.(T))
	}
	return out
}

// Add, Update, Delete and Replace are what the reflector calls.
func (m *Mirror[T]) Add(object any) error { return m.after(m.Store.Add(object)) }

func (m *Mirror[T]) Update(object any) error { return m.after(m.Store.Update(object)) }

func (m *Mirror[T]) Delete(object any) error { return m.after(m.Store.Delete(object)) }

func (m *Mirror[T]) Replace(list []any, version string) error {
	err := m.Store.Replace(list, version)
	m.once.Do(func() { close(m.synced) })
	return m.after(err)
}

func (m *Mirror[T]) after(err error) error {
	select {
	case m.Changed <- struct{}{}:
	default:
	}
	return err
}
