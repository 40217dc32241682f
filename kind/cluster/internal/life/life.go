// Package life ties a process to the cluster's directory and to who started it: one process per part (a lock that the
// kernel frees when the process dies, so that a killed run leaves nothing to clean up), a mark when the part is ready,
// and an end when the starter is gone.
package life

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// The process of a killed run may need a moment to end after its starter.
const patience = 15 * time.Second

// Claim is the right to be the one process of a part.
type Claim struct {
	Dir  string // of the cluster
	part string
	lock *os.File
}

// Take waits for the lock of a part.
func Take(ctx context.Context, dir, part string) (*Claim, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, part+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(patience); ; {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(deadline) || ctx.Err() != nil {
			lock.Close()
			return nil, fmt.Errorf("%s of %s is running already (%w): stop it, or take another directory", part, dir, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	c := &Claim{Dir: dir, part: part, lock: lock}
	_ = os.Remove(c.readyFile())
	return c, nil
}

func (c *Claim) readyFile() string { return filepath.Join(c.Dir, c.part+".ready") }

// Ready marks the part as ready with the id of this process.
func (c *Claim) Ready() error {
	partial := c.readyFile() + ".partial"
	if err := os.WriteFile(partial, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(partial, c.readyFile())
}

// Release gives the part up.
func (c *Claim) Release() {
	_ = os.Remove(c.readyFile())
	_ = c.lock.Close()
}

// AwaitEnd calls end when input closes. The write end of that pipe is in the starter alone, so the kernel closes it however
// the starter dies; Pdeathsig would not do, as it fires when the starting thread ends.
func AwaitEnd(input io.Reader, end func()) {
	_, _ = io.Copy(io.Discard, input)
	end()
}
