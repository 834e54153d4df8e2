package cloudtest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// AzureSubscription is the one that an ARM has.
const AzureSubscription = "77777777-0000-0000-0000-000000000000"

// ARM is Azure's Resource Manager with some storage accounts, one a page.
type ARM struct {
	*Cloud
	Accounts  map[string][2]string // their keys
	Elsewhere string               // where the list says that it goes on
	names     []string
}

// NewARM adds one to an Azure, without an account.
func NewARM(c *Cloud) *ARM {
	f := &ARM{Cloud: c, Accounts: map[string][2]string{}}
	c.Find(f.find)
	return f
}

// Insert makes an account, or sets the keys of one.
func (f *ARM) Insert(name, key1, key2 string) {
	if _, ok := f.Accounts[name]; !ok {
		f.names = append(f.names, name)
	}
	f.Accounts[name] = [2]string{key1, key2}
}

// Remove removes an account.
func (f *ARM) Remove(name string) {
	f.names = slices.DeleteFunc(f.names, func(n string) bool { return n == name })
	delete(f.Accounts, name)
}

func (f *ARM) find(r *http.Request) (Operation, bool) {
	const root = "/subscriptions/" + AzureSubscription
	const group = root + "/resourceGroups/shop/providers/Microsoft.Storage/storageAccounts/"
	if r.Header.Get("Scope") != "https://management.azure.com" || r.URL.Query().Get("api-version") == "" {
		return Operation{}, false
	}
	if r.Method == "GET" && r.URL.Path == root+"/providers/Microsoft.Storage/storageAccounts" {
		return Operation{Needs: "Microsoft.Storage/storageAccounts/read", Do: func() (int, any) { return f.list(r, group) }}, true
	}
	name, verb, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, group), "/")
	keys, ok := f.Accounts[name]
	switch {
	case !ok:
	case verb == "listKeys":
		return Operation{Needs: "Microsoft.Storage/storageAccounts/listKeys/action", Do: func() (int, any) {
			return 200, map[string]any{"keys": []map[string]string{
				{"keyName": "kerb1", "value": "k"}, {"keyName": "key2", "value": keys[1]}, {"keyName": "key1", "value": keys[0]}}}
		}}, true
	case verb == "regenerateKey":
		return Operation{Needs: "Microsoft.Storage/storageAccounts/regenerateKey/action", Do: func() (int, any) {
			n, err := strconv.Atoi(strings.TrimPrefix(Body[struct{ KeyName string }](r).KeyName, "key"))
			if err != nil || n < 1 || n > 2 {
				return AzureError(400, "InvalidKeyName")
			}
			keys[n-1] = "new-" + rand.Text()
			f.Accounts[name] = keys
			return 200, map[string]any{}
		}}, true
	}
	return Operation{}, false
}

func (f *ARM) list(r *http.Request, group string) (int, any) {
	n, _ := strconv.Atoi(r.URL.Query().Get("page"))
	if n >= len(f.names) {
		return 200, map[string]any{"value": []any{}}
	}
	next := ""
	if n+1 < len(f.names) {
		next = fmt.Sprintf("%s%s?api-version=2023-05-01&page=%d", base(r), r.URL.Path, n+1)
	}
	if f.Elsewhere != "" {
		next = f.Elsewhere
	}
	return 200, map[string]any{"value": []any{map[string]string{"id": group + f.names[n], "name": f.names[n]}}, "nextLink": next}
}
