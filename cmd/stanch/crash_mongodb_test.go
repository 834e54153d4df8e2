package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/provider/servertest"
)

// crashMongoDB is a server that speaks MongoDB's protocol.
type crashMongoDB struct{ *servertest.MongoDB }

func startCrashMongoDB(t *testing.T, tls servertest.Authority) (string, databaseServer) {
	s := crashMongoDB{servertest.StartMongoDB(t, tls)}
	s.Shell(t, `db.getSiblingDB("admin").createRole({"role": "stanch", "privileges": [], "roles": []})`)
	s.Shell(t, `db.getSiblingDB("admin").createUser({"user": "stanch", "pwd": "`+crashAdminPassword+`", "roles": [{"role": "stanch", "db": "admin"}]})`)
	for _, line := range required(provider.MongoDBPolicy()) {
		s.Shell(t, strings.ReplaceAll(line, "name_of_the_database", crashDatabaseName))
	}
	return "127.0.0.1:" + s.Port, s
}

// say has one user say a command.
func (s crashMongoDB) say(user, password, db string, command any) (bson.Raw, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := s.Dial(user, password, db)
	if err != nil {
		return nil, err
	}
	defer client.Disconnect(ctx)
	return client.Database(crashDatabaseName).RunCommand(ctx, command).Raw()
}

func (s crashMongoDB) do(command any) (bson.Raw, error) {
	return s.say("boss", servertest.AdminPassword, "admin", command)
}

func (s crashMongoDB) create(user string) error {
	roles := []servertest.MongoRole{{Role: "readWrite", DB: crashDatabaseName}}
	_, err := s.do(bson.D{{Key: "createUser", Value: user}, {Key: "pwd", Value: crashLeaked}, {Key: "roles", Value: roles}})
	return err
}

func (s crashMongoDB) logsIn(user, password string) bool {
	_, err := s.say(user, password, crashDatabaseName, bson.D{{Key: "listCollections", Value: 1}})
	return err == nil
}

// passwords counts the users who are let in, of the name or in its place.
func (s crashMongoDB) passwords(user string) (n int, err error) {
	var all struct {
		Users []struct {
			User  string
			Roles []servertest.MongoRole
		}
	}
	answer, err := s.do(bson.D{{Key: "usersInfo", Value: 1}})
	if err == nil {
		err = bson.Unmarshal(answer, &all)
	}
	for _, u := range all.Users {
		shut := slices.Contains(u.Roles, servertest.MongoRole{Role: "shut", DB: "stanch"})
		if !shut && (u.User == user || strings.HasPrefix(u.User, user+"_")) {
			n++
		}
	}
	return n, err
}
