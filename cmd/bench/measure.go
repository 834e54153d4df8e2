package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"
)

// mega is a million: megabytes are decimal here.
const mega = 1_000_000

// A usage is what one process took.
type usage struct {
	wall, cpu time.Duration // cpu is user and system time
	peak      int64         // bytes of memory
}

// A command is a process that is measured.
type command struct {
	name  string // of the row
	stdin string // a file, or empty
	argv  []string
	runs  int
	holes bool // it may say that it could not read everything
}

// measureAll runs commands in turns, so that what else the machine does meets them
// all alike, and returns what each of them took in the median.
func (b *bench) measureAll(commands ...command) ([]usage, error) {
	all := make([][]usage, len(commands))
	for turn := range slices.MaxFunc(commands, func(x, y command) int { return x.runs - y.runs }).runs {
		for i, c := range commands {
			if turn >= c.runs {
				continue
			}
			u, err := b.process(c)
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], u)
		}
	}
	medians := make([]usage, len(commands))
	for i, c := range commands {
		medians[i] = median(all[i])
		if c.argv[0] == b.stanch && medians[i].peak > b.peakBytes {
			b.peakBytes, b.peakOf = medians[i].peak, c.name
		}
	}
	return medians, nil
}

// process runs a command once, by way of a launch. Stanch's status may say that it
// found something.
func (b *bench) process(c command) (usage, error) {
	self, err := os.Executable()
	if err != nil {
		return usage{}, err
	}
	cmd := exec.CommandContext(b.ctx, self, append([]string{"-launch", "--"}, c.argv...)...)
	var told, out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &told
	if c.stdin != "" {
		in, err := os.Open(c.stdin)
		if err != nil {
			return usage{}, err
		}
		defer in.Close()
		cmd.Stdin = in
	}
	var l launched
	if err := cmd.Run(); err != nil {
		return usage{}, fmt.Errorf("%s: %w\n%s", c.name, err, told.Bytes())
	}
	if err := json.Unmarshal(out.Bytes(), &l); err != nil {
		return usage{}, fmt.Errorf("%s: %w", c.name, err)
	}
	if l.Status != 0 && (c.argv[0] != b.stanch || l.Status != 1 && (l.Status != 2 || !c.holes)) {
		return usage{}, fmt.Errorf("%s: exit status %d\n%s", c.name, l.Status, told.Bytes())
	}
	return usage{l.Wall, l.CPU, l.Peak}, nil
}

// launched is what a launch tells.
type launched struct {
	Wall, CPU time.Duration
	Peak      int64
	Status    int
}

// launch runs a program and tells what it took. It is a process of its own, and a
// small one: the memory that a process has when it starts another counts for that
// one's peak.
func launch(argv []string, out io.Writer) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	begin := time.Now()
	err := cmd.Run()
	wall := time.Since(begin)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	s := cmd.ProcessState
	return json.NewEncoder(out).Encode(launched{wall, s.UserTime() + s.SystemTime(), peak(s), s.ExitCode()})
}

// median takes each figure's median, but of memory the most.
func median(all []usage) usage {
	of := func(figure func(usage) time.Duration) time.Duration {
		var values []time.Duration
		for _, u := range all {
			values = append(values, figure(u))
		}
		slices.Sort(values)
		return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
	}
	m := usage{wall: of(func(u usage) time.Duration { return u.wall }), cpu: of(func(u usage) time.Duration { return u.cpu })}
	for _, u := range all {
		m.peak = max(m.peak, u.peak)
	}
	return m
}

// rate is megabytes for each second.
func rate(bytes int64, d time.Duration) float64 { return float64(bytes) / mega / d.Seconds() }
