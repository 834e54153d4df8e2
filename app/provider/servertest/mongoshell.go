package servertest

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Dial is the client of a user of a database, who is asked for the password at the first
// command.
func (s *MongoDB) Dial(user, password, db string) (*mongo.Client, error) {
	return mongo.Connect(options.Client().SetHosts([]string{"127.0.0.1:" + s.Port}).SetDirect(true).SetServerMonitoringMode("poll").SetMaxPoolSize(1).
		SetServerSelectionTimeout(5 * time.Second).SetRetryReads(false).
		SetAuth(options.Credential{Username: user, Password: password, PasswordSet: true, AuthSource: db}))
}

// Client is such a client until the test ends.
func (s *MongoDB) Client(t *testing.T, user, password, db string) *mongo.Client {
	t.Helper()
	client, err := s.Dial(user, password, db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		client.Disconnect(end)
	})
	return client
}

// Boss gives an order as the administrator.
func (s *MongoDB) Boss(t *testing.T, db string, command any) bson.Raw {
	t.Helper()
	answer, err := s.boss(t).Database(db).RunCommand(context.Background(), command).Raw()
	if err != nil {
		t.Fatalf("%v: %v", command, err)
	}
	return answer
}

func (s *MongoDB) boss(t *testing.T) *mongo.Client {
	s.bossOnce.Do(func() { s.bossClient = s.Client(t, "boss", AdminPassword, "admin") })
	return s.bossClient
}

// shellLine is a command of MongoDB's shell.
var shellLine = regexp.MustCompile(`^db\.getSiblingDB\("([a-z_]+)"\)\.([A-Za-z]+)\((?:("[a-z]+"), )?(.+)\)$`)

// Shell does as boss what a line for MongoDB's shell says.
func (s *MongoDB) Shell(t *testing.T, line string) {
	t.Helper()
	m := shellLine.FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("no line of the shell: %s", line)
	}
	db, method, name, rest := m[1], m[2], m[3], m[4]
	command := fmt.Sprintf(`{"%s": %s, "privileges": %s}`, method, name, rest)
	switch method {
	case "createRole":
		command = strings.Replace(rest, `"role"`, `"createRole"`, 1)
	case "createUser":
		command = strings.Replace(rest, `"user"`, `"createUser"`, 1)
	}
	var order bson.D
	if err := bson.UnmarshalExtJSON([]byte(command), false, &order); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	s.Boss(t, db, order)
}
