// Command raretask sets the workbench up, opens its notebooks and reproduces the paper's figures; other verbs compute without a notebook.
// Exit 0 means done, 1 failed while doing, 2 wrong usage; with --json standard output holds one JSON object and nothing else.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"raretask/pkg/backend"
)

// verbs are the commands below raretask; every verb's file adds its own in an init function, as extras do to the command itself.
var (
	verbs  []func() *cobra.Command
	extras []func(root *cobra.Command)
)

// A usageError is a mistake in what was asked for rather than in doing it: exit 2, not 1.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// badUsage makes a usageError that says what was wrong and what would be right.
func badUsage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// output is standard output. It remembers an error of writing, so that no verb needs to look at each line's.
type output struct {
	io.Writer
	err error
}

func (o *output) Write(text []byte) (int, error) {
	n, err := o.Writer.Write(text)
	o.err = cmp.Or(o.err, err)
	return n, err
}

// show prints the result of a command: for people, or under --json the value as the one object.
func show(cmd *cobra.Command, value any, people func(w io.Writer)) error {
	if wantsJSON(cmd) {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	}
	people(cmd.OutOrStdout())
	return nil
}

// wantsJSON tells whether --json was given.
func wantsJSON(cmd *cobra.Command) bool {
	json, err := cmd.Flags().GetBool("json")
	return err == nil && json
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "raretask",
		Short: "Why do larger models learn what smaller ones cannot?",
		Long: `A workbench for one question: why do larger models learn what smaller ones cannot?

Start with reproduce, which needs nothing but Go, Python 3 and a C compiler; then open the notebooks with lab
and bend them to a question of your own.`,
		Example: `  raretask reproduce fig2          # the paper's Figure 2, from nothing
  raretask lab                     # the notebooks, in a browser
  raretask doctor                  # what is installed, what is missing and what to do`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	for _, add := range extras {
		add(root)
	}
	root.PersistentFlags().Bool("json", false, "print one JSON object on standard output and nothing else there")
	for _, verb := range verbs {
		cmd := verb()
		if cmd.HasSubCommands() && !cmd.Runnable() {
			cmd.RunE = wantSubcommand
		}
		root.AddCommand(cmd)
	}
	hideDefaults(root)
	return root
}

// hideDefaults leaves out of the help what says that there is no default, of the types of which pflag doesn't know it.
func hideDefaults(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		switch f.Value.Type() + f.DefValue {
		case "float64Slice[]":
			f.DefValue = ""
		case "float64NaN":
			f.DefValue = "0"
		}
	})
	for _, sub := range cmd.Commands() {
		hideDefaults(sub)
	}
}

// wantSubcommand stands for a verb that does nothing without one of its own verbs; cobra would show help and call that done.
func wantSubcommand(cmd *cobra.Command, args []string) error {
	var names []string
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			names = append(names, sub.Name())
		}
	}
	_, path, _ := strings.Cut(cmd.CommandPath(), " ") // without the program's name, which every error begins with
	return badUsage("%s: want one of %s", strings.Join(append([]string{path}, args...), " "), strings.Join(names, ", "))
}

// run executes the command line and returns the process's exit status. A panic is one of failing, never of wrong usage, which Go's own
// would be.
func run(ctx context.Context, args []string) (status int) {
	defer func() {
		if cause := recover(); cause != nil {
			fmt.Fprintf(os.Stderr, "raretask: %v\n%s\n", cause, debug.Stack())
			fmt.Fprintln(os.Stderr, "raretask: this is a bug; please report it, with the lines above and the command")
			status = 1
		}
	}()
	root, out := newRootCommand(), &output{Writer: os.Stdout}
	root.SetArgs(args)
	root.SetOut(out)
	started := false // whatever goes wrong before a verb runs is wrong usage
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil && out.err != nil {
		err, started = out.err, true
	}
	var usage usageError
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		slog.Error("interrupted")
		return 1
	case !started || errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "raretask: %v\nsee `%s -h`\n", err, cmd.CommandPath())
		return 2
	}
	fmt.Fprintf(os.Stderr, "raretask: %v\n", err)
	return 1
}

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	ctx, done := backend.Interruptible()
	status := run(ctx, os.Args[1:])
	done()
	os.Exit(status)
}
