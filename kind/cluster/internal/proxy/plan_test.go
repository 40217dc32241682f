package proxy

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func service(ip string, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "web"}, Spec: corev1.ServiceSpec{ClusterIP: ip, Ports: ports},
	}
}

func slice(portName string, port int32, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		Ports:      []discoveryv1.EndpointPort{{Name: &portName, Port: &port}}, Endpoints: endpoints,
	}
}

func endpoint(address string, ready *bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: ready}}
}

func TestPlan(t *testing.T) {
	yes, no := true, false
	http := corev1.ServicePort{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}
	cases := []struct {
		name     string
		services []*corev1.Service
		slices   []*discoveryv1.EndpointSlice
		want     map[string]backends
	}{
		{
			"ready endpoints are taken in order, an ending one keeps its connections",
			[]*corev1.Service{service("127.96.0.9", http)},
			[]*discoveryv1.EndpointSlice{slice("http", 8080, endpoint("127.0.2.1", &yes), endpoint("127.0.1.1", nil), endpoint("127.0.1.2", &no))},
			map[string]backends{"127.96.0.9:80": {
				ready: []string{"127.0.1.1:8080", "127.0.2.1:8080"}, known: []string{"127.0.2.1:8080", "127.0.1.1:8080", "127.0.1.2:8080"},
			}},
		},
		{
			"the endpoint's port is found by the name of the service's port",
			[]*corev1.Service{service("127.96.0.9", http, corev1.ServicePort{Name: "admin", Port: 9090})},
			[]*discoveryv1.EndpointSlice{slice("http", 8080, endpoint("127.0.1.1", &yes)), slice("admin", 9090, endpoint("127.0.1.1", &yes))},
			map[string]backends{
				"127.96.0.9:80":   {ready: []string{"127.0.1.1:8080"}, known: []string{"127.0.1.1:8080"}},
				"127.96.0.9:9090": {ready: []string{"127.0.1.1:9090"}, known: []string{"127.0.1.1:9090"}},
			},
		},
		{
			"a service without endpoints is planned with none",
			[]*corev1.Service{service("127.96.0.9", http)}, nil, map[string]backends{"127.96.0.9:80": {}},
		},
		{
			"UDP ports, headless services and foreign addresses are left out",
			[]*corev1.Service{
				service("127.96.0.9", corev1.ServicePort{Port: 53, Protocol: corev1.ProtocolUDP}), service("None", http), service("10.96.0.9", http),
			},
			nil, map[string]backends{},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := plan(c.services, c.slices); !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got  %v\nwant %v", got, c.want)
			}
		})
	}
}
