// Package proxy is the user-space service proxy: it listens on each ClusterIP and port and forwards to ready endpoints, round
// robin. TCP only, ClusterIPs inside 127.0.0.0/8 only; no NodePorts, no session affinity.
package proxy

import (
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
)

// backends of one ClusterIP:port, as "address:port".
type backends struct {
	ready []string // sorted; new connections go to these
	known []string // all that exist, also those that are ending: their connections may go on
}

// plan says for each ClusterIP:port where its connections go.
func plan(services []*corev1.Service, endpoints []*discoveryv1.EndpointSlice) map[string]backends {
	bySlice := map[string][]*discoveryv1.EndpointSlice{}
	for _, slice := range endpoints {
		key := slice.Namespace + "/" + slice.Labels[discoveryv1.LabelServiceName]
		bySlice[key] = append(bySlice[key], slice)
	}
	out := map[string]backends{}
	for _, service := range services {
		ip := net.ParseIP(service.Spec.ClusterIP)
		if ip == nil || !ip.IsLoopback() {
			continue // headless, or not ours
		}
		for _, port := range service.Spec.Ports {
			if port.Protocol == corev1.ProtocolTCP || port.Protocol == "" {
				address := net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(port.Port)))
				out[address] = backendsOf(port.Name, bySlice[service.Namespace+"/"+service.Name])
			}
		}
	}
	return out
}

func backendsOf(portName string, endpoints []*discoveryv1.EndpointSlice) backends {
	var b backends
	for _, slice := range endpoints {
		for _, port := range slice.Ports {
			if port.Port == nil || ptr.Deref(port.Name, "") != portName || ptr.Deref(port.Protocol, corev1.ProtocolTCP) != corev1.ProtocolTCP {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				for _, address := range endpoint.Addresses {
					target := net.JoinHostPort(address, strconv.Itoa(int(*port.Port)))
					b.known = append(b.known, target)
					if ptr.Deref(endpoint.Conditions.Ready, true) { // nil means ready
						b.ready = append(b.ready, target)
					}
				}
			}
		}
	}
	slices.Sort(b.ready)
	b.ready = slices.Compact(b.ready)
	return b
}
