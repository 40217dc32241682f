package procnode

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"k8s.io/klog/v2"
)

// filesVariable is in every container's environment, so also in that of all it starts.
const filesVariable = "POD_FILES"

// endStrays kills what containers of the node in dir left behind: Pdeathsig reaches a container's process, not its children
// that run in sessions of their own.
func endStrays(dir string) {
	mark := []byte(filesVariable + "=" + dir + string(os.PathSeparator))
	found, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range found {
		environment, err := os.ReadFile(path) // fails for processes of others
		if err != nil || !(bytes.HasPrefix(environment, mark) || bytes.Contains(environment, append([]byte{0}, mark...))) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && pid != os.Getpid() {
			klog.InfoS("killing a process that outlived its container", "pid", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
