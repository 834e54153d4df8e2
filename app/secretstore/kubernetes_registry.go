package secretstore

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
)

// The fields in which Kubernetes keeps logins to registries of images, and how the
// newer of them wraps the older's content.
// Source: https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets
const (
	registryField    = ".dockerconfigjson"
	oldRegistryField = ".dockercfg"
	registryWrapper  = "auths"
)

// A login is what a registry's entry holds; those of its fields that are no text are
// left as they are.
type login map[string]any

// openRegistry shows the passwords in a field of logins: an entry's “auth” is the user's
// name and password in base64, in which nothing can be found or replaced. It becomes the
// two fields that may stand in its place. Other fields stay as they are.
func openRegistry(field, text string) string {
	return overLogins(field, text, func(l login) {
		auth, _ := l["auth"].(string)
		decoded, err := base64.StdEncoding.DecodeString(auth)
		if name, password, ok := strings.Cut(string(decoded), ":"); err == nil && ok {
			l["username"], l["password"] = name, strings.TrimRight(password, "\x00")
			delete(l, "auth")
		}
	})
}

// closeRegistry gives each entry with a name and a password its “auth”, which some
// clients want.
func closeRegistry(field, text string) string {
	return overLogins(field, text, func(l login) {
		name, named := l["username"].(string)
		password, ok := l["password"].(string)
		if named && ok {
			l["auth"] = base64.StdEncoding.EncodeToString([]byte(name + ":" + password))
		}
	})
}

// passwords are what stands in the entries of a field of logins.
func passwords(field, text string) (found []string) {
	overLogins(field, text, func(l login) {
		for _, name := range []string{"password", "identitytoken", "registrytoken"} {
			if value, ok := l[name].(string); ok {
				found = append(found, value)
			}
		}
	})
	return found
}

// overLogins changes the entries of a field of logins. Text that is none is left alone.
func overLogins(field, text string, change func(login)) string {
	if field != registryField && field != oldRegistryField {
		return text
	}
	var whole map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &whole) != nil {
		return text
	}
	entries := []byte(text)
	if field == registryField {
		entries = whole[registryWrapper]
	}
	var logins map[string]login
	if json.Unmarshal(entries, &logins) != nil || logins == nil {
		return text
	}
	for _, l := range logins {
		if l != nil {
			change(l)
		}
	}
	var out any = logins
	if field == registryField {
		whole[registryWrapper] = unescaped(logins)
		out = whole
	}
	return string(unescaped(out))
}

// unescaped is JSON as people write it, without <, > and & escaped.
func unescaped(value any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // of what was JSON before
	return bytes.TrimSpace(out.Bytes())
}
