package lab

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// firstPage is what a browser is shown, and hidden what the list of files leaves out: what notebooks are made of and Jupyter's own.
const firstPage = "lab/tree/00_quickstart.ipynb"

var hidden = []string{"data", "figures", "requirements.*", "__pycache__", "*.pyc", ".DS_Store", "*~"}

// listenVar names the address that JupyterLab listens on. The image sets it and nothing else does: all of a container's addresses are its
// own, and its host publishes the ports that it chooses.
const listenVar = "RARETASK_LISTEN"

const loopback = "127.0.0.1"

// Serve runs JupyterLab on the checkout's notebooks until ctx ends, at the loopback address and behind a token; ready gets its
// address. When the port is taken the next free one is used. The lab must have been set up.
func (l *Lab) Serve(ctx context.Context, port int, browser bool, ready func(address string)) error {
	args := []string{"-m", "jupyterlab", "--ServerApp.ip=" + cmp.Or(os.Getenv(listenVar), loopback),
		"--ServerApp.port=" + strconv.Itoa(port), "--ServerApp.root_dir=" + filepath.Join(l.root, "notebooks"),
		"--ServerApp.log_level=ERROR", "--LabApp.log_level=ERROR",
		"--LabApp.extension_manager=readonly", // the other one asks the network
		"--MultiKernelManager.default_kernel_name=gonb",
		"--LabApp.default_url=/" + firstPage}
	for _, glob := range hidden {
		args = append(args, "--ContentsManager.hide_globs="+glob)
	}
	if !browser {
		args = append(args, "--no-browser")
	}
	if os.Geteuid() == 0 {
		args = append(args, "--allow-root") // containers
	}
	cmd, err := l.command(ctx, args...)
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("lab: cannot start JupyterLab: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	info := filepath.Join(l.jupyterHome(), "runtime", fmt.Sprintf("jpserver-%d.json", cmd.Process.Pid))
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case err := <-exited:
			if ctx.Err() != nil {
				return nil // asked to stop
			}
			return fmt.Errorf("lab: JupyterLab stopped: %w", errors.Join(err, errors.New("see its messages above")))
		case <-poll.C:
			if at := address(info); at != "" {
				poll.Stop()
				ready(at)
			}
		}
	}
}

// address reads what a server tells about itself, and checks that it listens: it tells a little before it does. A container's own name
// means nothing to its host, which publishes the port at its loopback address, too.
func address(info string) string {
	content, err := os.ReadFile(info)
	var server struct{ URL, Token string }
	if err != nil || json.Unmarshal(content, &server) != nil {
		return ""
	}
	at, err := url.Parse(server.URL)
	if err != nil {
		return ""
	}
	at.Host = net.JoinHostPort(loopback, at.Port())
	conn, err := net.Dial("tcp", at.Host)
	if err != nil {
		return ""
	}
	conn.Close()
	return at.String() + firstPage + "?token=" + server.Token
}
