package procnode

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestReplacePath(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"a path that stands alone", "/etc/hawse", "/new"},
		{"a path that begins a longer one", "--ca=/etc/hawse/ca.crt", "--ca=/new/ca.crt"},
		{"neighbours in a list", "/etc/hawse:/etc/hawse:/etc/hawse/b", "/new:/new:/new/b"},
		{"not a longer name", "/etc/hawse-2 /etc/hawse.d", "/etc/hawse-2 /etc/hawse.d"},
		{"not inside another path", "/srv/etc/hawse", "/srv/etc/hawse"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := replacePath(c.text, "/etc/hawse", "/new"); got != c.want {
				t.Fatalf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestPoolKeepsWantedAddressesAndEndsWhenAllAreTaken(t *testing.T) {
	pool, err := NewPool("127.0.3.0/30")
	if err != nil {
		t.Fatal(err)
	}
	first, _ := pool.take("127.0.3.2")
	second, _ := pool.take("127.0.3.2")
	if first != "127.0.3.2" || second != "127.0.3.1" {
		t.Fatalf("got %s and %s", first, second)
	}
	if third, err := pool.take(""); err == nil {
		t.Fatalf("got %s from a full pool", third)
	}
	pool.give(first)
	if again, err := pool.take(""); again != first {
		t.Fatalf("got %s (%v), want %s again", again, err, first)
	}
}

func TestPoolRefusesNetworksOutsideLoopback(t *testing.T) {
	for _, network := range []string{"10.0.0.0/24", "127.0.0.1/32", "::1/128", "x"} {
		if _, err := NewPool(network); err == nil {
			t.Errorf("%s was accepted", network)
		}
	}
}

func TestServicesOfANamespaceAreThoseWithAnAddress(t *testing.T) {
	service := func(namespace, name, ip string) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip}}
	}
	var names []string
	for _, s := range servicesOf("default", []*corev1.Service{
		service("default", "web", "127.96.0.3"), service("default", "api", "127.96.0.2"), service("default", "kubernetes", "127.96.0.1"),
		service("default", "headless", "None"), service("other", "far", "127.96.0.4"),
	}) {
		names = append(names, s.Name)
	}
	if want := []string{"api", "web"}; !slices.Equal(names, want) {
		t.Fatalf("got %v, want %v", names, want)
	}
}

func TestFullLogKeepsItsYoungerHalf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "main.0.log")
	l, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 1<<20) + "\n"
	for range 20 {
		if _, err := l.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	var sizes int64
	for _, name := range []string{path, path + ".old"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		sizes += info.Size()
	}
	if sizes > logMost || sizes < logMost/2 {
		t.Fatalf("%d bytes are kept", sizes)
	}
}
