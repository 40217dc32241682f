package procnode

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const (
	logMost    = 16 << 20 // bytes of one run of a container that are kept, at least the younger half of them
	followTick = 100 * time.Millisecond
)

func (c *container) logPath(restart int32) string {
	return filepath.Join(c.pod.node.podDir(c.pod.object.UID), fmt.Sprintf("%s.%d.log", c.spec.Name, restart))
}

// log writes each line with the time before it, as a container runtime does. A full file becomes PATH.old.
type log struct {
	mu   sync.Mutex
	path string
	file *os.File
	size int64
	part []byte
}

func openLog(path string) (*log, error) {
	l := &log{path: path}
	return l, l.open()
}

func (l *log) open() (err error) {
	l.file, err = os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	return err
}

func (l *log) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, data...)
	stamp := time.Now().UTC().Format(time.RFC3339Nano) + " "
	var out []byte
	for {
		end := bytes.IndexByte(l.part, '\n')
		if end < 0 && len(l.part) < logMost/16 {
			break
		}
		if end < 0 { // a line without end
			l.part = append(l.part, '\n')
			continue
		}
		out = append(append(out, stamp...), l.part[:end+1]...)
		l.part = l.part[end+1:]
	}
	if l.size += int64(len(out)); l.size > logMost/2 {
		l.size = int64(len(out))
		_ = l.file.Close()
		_ = os.Rename(l.path, l.path+".old")
		if err := l.open(); err != nil {
			return 0, err
		}
	}
	if _, err := l.file.Write(out); err != nil {
		return 0, err
	}
	return len(data), nil
}

func (l *log) Close() {
	if len(l.part) > 0 {
		_, _ = l.Write([]byte("\n"))
	}
	_ = l.file.Close()
}

// logView is what a request wants to see of a log.
type logView struct {
	tail       int // -1: all
	timestamps bool
	follow     bool
	previous   bool
}

func viewOf(r *http.Request) logView {
	query := r.URL.Query()
	v := logView{
		tail: -1, timestamps: query.Get("timestamps") == "true", follow: query.Get("follow") == "true", previous: query.Get("previous") == "true",
	}
	if number, err := strconv.Atoi(query.Get("tailLines")); err == nil {
		v.tail = number
	}
	return v
}

// shown is the part of a stored line that the view shows.
func (v logView) shown(line []byte) []byte {
	if _, text, found := bytes.Cut(line, []byte(" ")); found && !v.timestamps {
		return text
	}
	return line
}

func (n *Node) serveLogs(w http.ResponseWriter, r *http.Request) {
	c := n.container(r)
	if c == nil {
		http.Error(w, "no such container", http.StatusNotFound)
		return
	}
	view := viewOf(r)
	restart := c.restartCount()
	if view.previous {
		restart, view.follow = restart-1, false
	}
	file, err := os.Open(c.logPath(restart))
	if err != nil && restart > 0 && !view.previous {
		file, err = os.Open(c.logPath(restart - 1)) // between two runs
	}
	if err != nil {
		http.Error(w, "no log of this container", http.StatusBadRequest)
		return
	}
	defer file.Close()
	reader := bufio.NewReader(file)
	var lines [][]byte
	var part []byte
	for {
		line, err := reader.ReadBytes('\n')
		part = append(part, line...)
		if err != nil {
			break
		}
		if lines, part = append(lines, part), nil; view.tail >= 0 && len(lines) > view.tail {
			lines = lines[1:]
		}
	}
	for _, line := range lines {
		if _, err := w.Write(view.shown(line)); err != nil {
			return
		}
	}
	for view.follow { // to the end of the run, or of this file when it is full
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(followTick):
		}
		ended := !c.running(restart) || moved(file)
		for {
			line, err := reader.ReadBytes('\n')
			part = append(part, line...)
			if err != nil {
				break
			}
			if _, err := w.Write(view.shown(part)); err != nil {
				return
			}
			part = nil
		}
		if ended {
			return
		}
	}
}

// moved is true for a log that was full and is PATH.old by now.
func moved(file *os.File) bool {
	mine, err := file.Stat()
	now, errNow := os.Stat(file.Name())
	return err != nil || errNow != nil || !os.SameFile(mine, now)
}
