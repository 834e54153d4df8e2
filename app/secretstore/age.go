package secretstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"filippo.io/age"
)

// formatVersion is the layout of the decrypted contents.
const formatVersion = 1

// view gives the contents to look at.
func (f *File) view(look func(*contents) error) error {
	unlock, err := f.lock.Lock()
	if err != nil {
		return fmt.Errorf("lock secret store %s: %w", f.path, err)
	}
	defer unlock()
	c, err := f.read()
	if err != nil {
		return err
	}
	return look(c)
}

// update gives the contents to change, and writes them if change says so. Other
// processes wait from the reading to the writing.
func (f *File) update(change func(*contents) (bool, error)) error {
	return f.view(func(c *contents) error {
		changed, err := change(c)
		if err != nil || !changed {
			return err
		}
		return f.write(c)
	})
}

// read decrypts the file. One that does not exist is an empty store.
func (f *File) read() (*contents, error) {
	sealed, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return &contents{Format: formatVersion, Secrets: map[string]*secret{}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read secret store: %w", err)
	}
	plain, err := f.decrypt(sealed)
	if err != nil {
		return nil, err
	}
	c := &contents{Secrets: map[string]*secret{}}
	if json.Unmarshal(plain, c) != nil || c.Format == 0 || !c.whole() { // the error might quote a value
		return nil, f.damaged()
	}
	if c.Format != formatVersion {
		return nil, fmt.Errorf("secret store %s has format %d, and this program knows %d: use the newer program", f.path, c.Format, formatVersion)
	}
	return c, nil
}

// whole says whether each secret has its current version.
func (c *contents) whole() bool {
	for _, s := range c.Secrets {
		if s == nil || s.Versions[s.Current] == nil {
			return false
		}
	}
	return true
}

func (f *File) decrypt(sealed []byte) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), f.identity)
	var wrongKey *age.NoIdentityMatchError
	if errors.As(err, &wrongKey) {
		return nil, fmt.Errorf("secret store %s was encrypted to another key: give the key file that it was made with", f.path)
	}
	if err != nil {
		return nil, f.damaged()
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, f.damaged()
	}
	return plain, nil
}

func (f *File) damaged() error {
	return fmt.Errorf("secret store %s is damaged and was left as it is: restore it from a backup", f.path)
}

// write replaces the file in one step: a crash leaves the old one or the new one.
func (f *File) write(c *contents) error {
	plain, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode secret store: %w", err)
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, f.identity.Recipient())
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fmt.Errorf("encrypt secret store: %w", err)
	}
	if err := f.replace(sealed.Bytes()); err != nil {
		return fmt.Errorf("write secret store %s: %w", f.path, err)
	}
	return nil
}

func (f *File) replace(data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(f.path), f.tempPattern())
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // not there any more once renamed
	_, err = temp.Write(data)
	if err == nil {
		err = temp.Sync()
	}
	if err := errors.Join(err, temp.Close()); err != nil {
		return err
	}
	f.beforeRename()
	if err := os.Rename(temp.Name(), f.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(f.path))
}

func (f *File) tempPattern() string { return "." + filepath.Base(f.path) + ".*.tmp" }

// sweep removes what a crash has left. Nobody else is writing: the lock is held.
func (f *File) sweep() {
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(f.path), f.tempPattern()))
	for _, name := range left {
		os.Remove(name)
	}
}

// syncDir makes a rename last through a power cut, where directories can be synced.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openKey reads the identity, or makes one when there is no store yet that
// would need another.
func openKey(keyPath, storePath string) (*age.X25519Identity, error) {
	info, err := os.Stat(keyPath)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(storePath); err == nil {
			return nil, fmt.Errorf("the key file %s of secret store %s is missing: restore it, the store cannot be read without", keyPath, storePath)
		}
		return makeKey(keyPath)
	}
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key file %s can be read by others: chmod 600 %s", keyPath, keyPath)
	}
	text, err := os.ReadFile(keyPath)
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	identity, err := age.ParseX25519Identity(strings.TrimSpace(string(text)))
	if err != nil { // the error might quote the key
		return nil, fmt.Errorf("key file %s holds no age identity: restore it", keyPath)
	}
	return identity, nil
}

func makeKey(path string) (*age.X25519Identity, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("make key file %s: %w", path, err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make key file: %w", err)
	}
	_, err = file.WriteString(identity.String() + "\n")
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("make key file %s: %w", path, err)
	}
	return identity, syncDir(filepath.Dir(path))
}
