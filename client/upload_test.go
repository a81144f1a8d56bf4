package client_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/stix-run/stix/client"
	"github.com/stix-run/stix/client/clienttest"
	"github.com/stix-run/stix/internal/tree"
)

// build makes the tree of a directory with these files.
func build(t *testing.T, dir string, files map[string]string) *tree.Result {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	built, err := tree.Build(t.Context(), tree.Config{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	return built
}

var files = map[string]string{"a": "one", "b/c": strings.Repeat("long", 200_000), "b/d": "", "same": "one"}

func TestUploadSendsWhatIsMissingOnce(t *testing.T) {
	dir := t.TempDir()
	built := build(t, dir, files)
	bubble(t, func(t *testing.T, r *rig) {
		sent, err := r.client.Upload(t.Context(), built, built)
		if err != nil {
			t.Fatal(err)
		}
		if int(sent.Blobs) != len(built.Order) || r.server.Blobs() != len(built.Order) {
			t.Errorf("sent %d blobs, the server holds %d, the tree has %d", sent.Blobs, r.server.Blobs(), len(built.Order))
		}
		before := len(r.server.Calls(""))
		if sent, err := r.client.Upload(t.Context(), built); err != nil || sent != (client.Sent{}) {
			t.Errorf("sent %+v of what is there, error %v", sent, err)
		}
		if n := len(r.server.Calls("")) - before; n != 1 {
			t.Errorf("%d calls for a tree that is there, want 1", n)
		}
	})
}

func TestUploadSendsOnlyWhatChanged(t *testing.T) {
	built := build(t, t.TempDir(), files)
	edited := maps.Clone(files)
	edited["a"] = "other"
	changed := build(t, t.TempDir(), edited)
	bubble(t, func(t *testing.T, r *rig) {
		if _, err := r.client.Upload(t.Context(), built); err != nil {
			t.Fatal(err)
		}
		sent, err := r.client.Upload(t.Context(), changed)
		if err != nil || sent.Blobs != 2 { // the file and the root
			t.Errorf("sent %+v, error %v, want 2 blobs", sent, err)
		}
	})
}

func TestUploadGoesOnAfterALostConnection(t *testing.T) {
	built := build(t, t.TempDir(), files)
	bubble(t, func(t *testing.T, r *rig) {
		for _, after := range []int{1, 2, 3} {
			r.server.Fail(clienttest.Fault{Procedure: "Upload", Messages: after})
		}
		r.server.Fail(clienttest.Fault{Procedure: "Missing", Err: clienttest.Errorf(connect.CodeUnavailable, "later")})
		if _, err := r.client.Upload(t.Context(), built); err != nil {
			t.Fatal(err)
		}
		if r.server.Blobs() != len(built.Order) {
			t.Errorf("the server holds %d of %d blobs", r.server.Blobs(), len(built.Order))
		}
	})
}

func TestUploadTellsThatAFileChanged(t *testing.T) {
	dir := t.TempDir()
	built := build(t, dir, files)
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("xyz"), 0o600); err != nil {
		t.Fatal(err)
	}
	bubble(t, func(t *testing.T, r *rig) {
		if _, err := r.client.Upload(t.Context(), built); !errors.Is(err, tree.ErrChanged) {
			t.Errorf("error %v, want that the file changed", err)
		}
	})
}

func TestUploadReturnsTheServersReason(t *testing.T) {
	built := build(t, t.TempDir(), files)
	bubble(t, func(t *testing.T, r *rig) {
		r.server.Fail(clienttest.Fault{Procedure: "Upload", Err: clienttest.Errorf(connect.CodeResourceExhausted, "the disk is full")})
		_, err := r.client.Upload(t.Context(), built)
		if client.KindOf(err) != client.Exhausted || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("error %v of kind %v", err, client.KindOf(err))
		}
	})
}
