package provider

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/xdg-go/scram"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/stanch-dev/stanch/app/grants"
)

// A mongoAdmin is a session of the administrator.
type mongoAdmin struct {
	*mongo.Client
	at string
}

// What MongoDB says of what it does not do:
// https://www.mongodb.com/docs/manual/reference/error-codes/
const (
	mongoUserNotFound  = 11
	mongoUnauthorized  = 13
	mongoRoleNotFound  = 31
	mongoNoSuchCommand = 59
	mongoNotPrimary    = 10107
	mongoUserExists    = 51003
)

// mongoShut is a role of which nobody can have come: its authentication restrictions
// name an address from where nobody comes. Whoever has it is not let in, whatever other
// roles he has, and who is in already is out at his next command. It is granted and
// revoked, so that nothing has to be remembered to let a user in again.
// https://www.mongodb.com/docs/manual/reference/command/createRole/
var mongoShut = mongoRole{Role: "shut", DB: "stanch"}

// A mongoRole is a role of a database.
type mongoRole struct {
	Role string `bson:"role"`
	DB   string `bson:"db"`
}

func (r mongoRole) String() string { return r.Role + "@" + r.DB }

// administrate connects to the server, as a user of the database that the URL names.
func (s *mongoServer) administrate(ctx context.Context, admin login) (*mongoAdmin, error) {
	source := admin.database
	if source == "" {
		source = "admin"
	}
	client, _, err := greetMongo(ctx, admin, source)
	if err != nil {
		return nil, fmt.Errorf("log in to MongoDB at %s as the administrator of STANCH_ADMIN_URLS: %s", admin.address(), mongoRefusal(err).answer)
	}
	return &mongoAdmin{client, admin.address()}, nil
}

// do gives an order about users, which a majority of a replica set has to keep.
func (c *mongoAdmin) do(ctx context.Context, db, command string, value any, more ...bson.E) error {
	order := append(bson.D{{Key: command, Value: value}}, more...)
	if command != "killAllSessions" {
		order = append(order, bson.E{Key: "writeConcern", Value: bson.D{{Key: "w", Value: "majority"}}})
	}
	return c.complaint(command, c.Database(db).RunCommand(ctx, order).Err())
}

// A mongoError is a refusal of the server's. What it says itself is left out: it may
// repeat the command, and with it a password.
type mongoError struct {
	code int32
	refusal
}

// Unwrap is the refusal.
func (e *mongoError) Unwrap() error { return e.refusal }

func (c *mongoAdmin) complaint(command string, err error) error {
	if err == nil {
		return nil
	}
	code, _ := mongoCode(err)
	text := fmt.Sprintf("MongoDB at %s says to %s of its administrator of STANCH_ADMIN_URLS: %d ", c.at, command, code)
	switch code {
	case 0:
		return fmt.Errorf("ask MongoDB at %s: %s", c.at, noAnswer(err).answer)
	case mongoUnauthorized:
		text += "not authorized; it needs " + mongoNeeds[command]
	case mongoRoleNotFound:
		text += "no such role; " + string(makeShut)
	case mongoUserNotFound:
		text += "no such user"
	case mongoUserExists:
		text += "there is such a user already"
	case mongoNotPrimary:
		text += "not the primary; name the primary in STANCH_ADMIN_URLS, users are not changed at a secondary"
	case mongoNoSuchCommand, mongoAtlas:
		text += "no such command; where another service manages the users, as Atlas does, a person changes the password there"
	default:
		return fmt.Errorf("MongoDB at %s says %d to %s", c.at, code, command)
	}
	return &mongoError{code, refusal(text)}
}

// A mongoUser is a user of one database, as the server keeps it.
type mongoUser struct {
	User                       string
	DB                         string
	Roles                      []mongoRole
	Mechanisms                 []string
	CustomData                 bson.Raw      `bson:"customData"`
	AuthenticationRestrictions bson.RawValue `bson:"authenticationRestrictions"`
	Credentials                map[string]struct {
		IterationCount  int    `bson:"iterationCount"`
		Salt, StoredKey string `bson:",omitempty"`
	}
}

func (u *mongoUser) String() string { return u.User + "@" + u.DB }

// user looks a user up, with what the server keeps of its password. Nobody is no error.
func (c *mongoAdmin) user(ctx context.Context, name, db string) (*mongoUser, error) {
	var got struct{ Users []mongoUser }
	question := bson.D{
		{Key: "usersInfo", Value: bson.D{{Key: "user", Value: name}, {Key: "db", Value: db}}},
		{Key: "showCredentials", Value: true}, {Key: "showAuthenticationRestrictions", Value: true},
	}
	if err := c.Database(db).RunCommand(ctx, question).Decode(&got); err != nil {
		return nil, c.complaint("usersInfo", err)
	}
	switch {
	case len(got.Users) == 0:
		return nil, nil
	case len(got.Users) > 1, got.Users[0].User != name, got.Users[0].DB != db:
		return nil, fmt.Errorf("MongoDB at %s tells of other users than the one that it was asked about", c.at)
	}
	return &got.Users[0], nil
}

// mongoRounds bounds how long a hash may take.
const mongoRounds = 1_000_000

// has reports whether a password is the user's, by what the server keeps of it:
// https://github.com/mongodb/specifications/blob/master/source/auth/auth.md
func (u *mongoUser) has(password string) bool {
	for mechanism, kept := range u.Credentials {
		salt, err := base64.StdEncoding.DecodeString(kept.Salt)
		stored, err2 := base64.StdEncoding.DecodeString(kept.StoredKey)
		if err != nil || err2 != nil || kept.IterationCount < 1 || kept.IterationCount > mongoRounds {
			continue
		}
		var client *scram.Client
		switch mechanism {
		case "SCRAM-SHA-256":
			client, err = scram.SHA256.NewClient(u.User, password, "")
		case "SCRAM-SHA-1":
			digest := md5.Sum([]byte(u.User + ":mongo:" + password))
			client, err = scram.SHA1.NewClientUnprepped(u.User, fmt.Sprintf("%x", digest), "")
		default:
			continue
		}
		if err != nil {
			continue // no server would keep it
		}
		made, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: kept.IterationCount})
		if err == nil && hmac.Equal(made.StoredKey, stored) {
			return true
		}
	}
	return false
}

func (u *mongoUser) shut() bool { return slices.Contains(u.Roles, mongoShut) }

// mongoAnyDatabase stands in the policy for a database.
const mongoAnyDatabase = "name_of_the_database"

const (
	mongoMakeShut = `db.getSiblingDB("stanch").createRole({"role": "shut", "privileges": [], "roles": [], "authenticationRestrictions": [{"clientSource": ["255.255.255.255"]}]})`
	mongoGrant    = `db.getSiblingDB("admin").grantPrivilegesToRole("stanch", [`
	mongoOnShut   = mongoGrant + `{"resource": {"db": "stanch", "collection": ""}, "actions": ["grantRole", "revokeRole"]}])`
	mongoOnAll    = mongoGrant + `{"resource": {"cluster": true}, "actions": ["killAnySession"]}])`
)

// makeShut is what is to be done where the role does not do its work.
const makeShut refusal = "create it: " + mongoMakeShut

func mongoOn(action string) string {
	return mongoGrant + `{"resource": {"db": "` + mongoAnyDatabase + `", "collection": ""}, "actions": ["` + action + `"]}])`
}

// mongoNeeds is what a command needs that was refused.
var mongoNeeds = map[string]string{
	"usersInfo":           mongoOn("viewUser"),
	"dropUser":            mongoOn("dropUser"),
	"createUser":          mongoOn("createUser") + ", of each of the user's roles " + mongoOn("grantRole") + ", and where the user has restrictions " + mongoOn("setAuthenticationRestriction"),
	"grantRolesToUser":    mongoOnShut,
	"revokeRolesFromUser": mongoOnShut,
	"killAllSessions":     mongoOnAll,
}

// MongoDBPolicy is what the administrator must be granted, by a role "stanch" of his own.
func MongoDBPolicy() grants.Policy {
	return grants.Policy{Name: "MongoDB", Syntax: "mongodb", Lines: []grants.Line{
		{Grant: mongoMakeShut, For: "disable, revoke: who has this role is kept out"},
		{Grant: mongoOnShut, For: "disable, enable, revoke"},
		{Grant: mongoOnAll, For: "disable, revoke: what the user is doing ends"},
		{Grant: mongoOn("viewUser"), For: "disable, enable, revoke, issue: find the leaked password, in each database with users"},
		{Grant: mongoOn("dropUser"), For: "revoke"},
		{Grant: mongoOn("createUser"), For: "issue"},
		{Grant: mongoOn("grantRole"), For: "issue, in each database whose roles the users have"},
		{Grant: mongoOn("setAuthenticationRestriction"), For: "issue, for users with restrictions of their own", Optional: true},
	}}
}
