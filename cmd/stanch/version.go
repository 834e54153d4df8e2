package main

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
)

func runVersion(_ context.Context, env *environment, args []string) int {
	rest, err := env.parseFlags(flag.NewFlagSet("version", flag.ContinueOnError), "Usage: stanch version\n", args)
	if err != nil {
		return env.exit(err)
	}
	if len(rest) > 0 {
		return env.fail(fmt.Errorf("version takes no arguments, and was given %q", rest[0]))
	}
	fmt.Fprintf(env.stdout, "stanch %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitDone
}

// version is the module's version as the go command recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
