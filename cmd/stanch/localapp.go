package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/store"
)

// A localApp is an App in this process, without GitHub, on the server's database.
type localApp struct {
	database string
	app      *app.App
	memory   *store.Store
	running  bool
	scratch  string // a folder to remove in the end
}

// A purpose says what a localApp is opened for.
type purpose int

const (
	toRead   purpose = iota // what is in the database; a server may have it open meanwhile
	toPlan                  // also where there is no database yet, which is not made
	toDecide                // about what is in the database, and to carry that out
	toOrder                 // to carry out what is ordered, also where there is no database yet
)

// localSettings are those of stanch serve, of which the GitHub App's may be missing.
func localSettings(ctx context.Context, getenv func(string) string) (s settings, err error) {
	values := map[string]string{}
	for _, v := range variables[settings]() {
		value, err := lookup(getenv, v.name)
		if err != nil {
			return s, err
		}
		if value != "" || strings.Contains(v.fallback, "required") {
			values[v.name] = value
		}
	}
	return s, fillFrom(ctx, values, &s)
}

// localAPI is the API of an App in this process.
func (env *environment) localAPI(ctx context.Context, p purpose) (*api, error) {
	s, err := localSettings(ctx, env.getenv)
	if err != nil {
		return nil, err
	}
	database, err := store.ParseURL(s.DatabaseURL)
	if err != nil {
		return nil, err
	}
	l := &localApp{database: database.String()}
	var statErr error
	if database.File() != "" {
		_, statErr = os.Stat(database.File())
	}
	missing := errors.Is(statErr, fs.ErrNotExist)
	if missing && (p == toRead || p == toDecide) {
		return nil, fmt.Errorf("no database to read: %w: STANCH_DATABASE_URL names the server's, and --server the server itself", statErr)
	}
	if missing && p == toPlan {
		if l.scratch, err = os.MkdirTemp("", "stanch-plan-"); err != nil {
			return nil, err
		}
		s.DatabaseURL = "sqlite:" + filepath.Join(l.scratch, "plan.db")
	}
	if err := l.open(ctx, s, p, env); err != nil {
		return nil, errors.Join(err, l.close())
	}
	name := env.caller()
	return &api{url: "http://stanch", caller: name, client: &http.Client{Transport: inProcess{l.app.Local(name)}}, local: l}, nil
}

// open opens the database and makes the App.
func (l *localApp) open(ctx context.Context, s settings, p purpose, env *environment) error {
	log := slog.New(slog.NewTextHandler(env.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg, err := s.appConfig(log)
	if err != nil {
		return err
	}
	cfg.WithoutGitHub, cfg.Dashboard = true, nil
	if p >= toDecide || l.scratch != "" {
		if l.memory, err = store.Open(ctx, s.DatabaseURL, cfg.Keys, log); err == nil {
			err = l.memory.Alone(ctx)
		}
	} else {
		l.memory, err = store.View(ctx, s.DatabaseURL, cfg.Keys)
	}
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("%w; or let that one do it, if it is stanch serve: --server URL or STANCH_SERVER_URL, with its STANCH_API_TOKEN", err)
	}
	if err != nil {
		return err
	}
	if l.app, err = app.New(cfg, l.memory); err != nil || p < toDecide {
		return err
	}
	l.running = true
	return l.app.StartLocal(context.WithoutCancel(ctx))
}

// stop lets what is being done come to the end of its step.
func (l *localApp) stop() error {
	if !l.running {
		return nil
	}
	l.running = false
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return l.app.StopLocal(ctx)
}

func (l *localApp) close() error {
	err := l.stop()
	if l.memory != nil {
		err = errors.Join(err, l.memory.Close())
	}
	if l.scratch != "" {
		err = errors.Join(err, os.RemoveAll(l.scratch))
	}
	return err
}
