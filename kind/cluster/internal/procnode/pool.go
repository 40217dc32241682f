package procnode

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
)

// Pool hands out the pod addresses of one node.
type Pool struct {
	mu   sync.Mutex
	base uint32
	size uint32 // how many addresses lie between the first and the last of the network
	used map[string]bool
	next uint32
}

// NewPool hands out the addresses of a network inside 127.0.0.0/8, which every Linux machine has, except its first and last.
func NewPool(cidr string) (*Pool, error) {
	network, err := netip.ParsePrefix(cidr)
	if err != nil {
		return nil, err
	}
	if !network.Addr().Is4() || !network.Addr().IsLoopback() || network.Bits() < 8 || network.Bits() > 30 {
		return nil, fmt.Errorf("pod network %s: want an IPv4 network inside 127.0.0.0/8 with at least 2 addresses", cidr)
	}
	first := network.Masked().Addr().As4()
	return &Pool{base: binary.BigEndian.Uint32(first[:]), size: 1<<(32-network.Bits()) - 2, used: map[string]bool{}}, nil
}

// take hands out the wanted address (that of an earlier run) if it is free, or the next free one.
func (p *Pool) take(wanted string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if wanted != "" && !p.used[wanted] {
		p.used[wanted] = true
		return wanted, nil
	}
	for range p.size {
		p.next = p.next%p.size + 1
		var bytes [4]byte
		binary.BigEndian.PutUint32(bytes[:], p.base+p.next)
		if ip := netip.AddrFrom4(bytes).String(); !p.used[ip] {
			p.used[ip] = true
			return ip, nil
		}
	}
	return "", fmt.Errorf("all %d pod addresses of the node are taken", p.size)
}

func (p *Pool) give(ip string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, ip)
}
