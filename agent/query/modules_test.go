package query

import (
	"strings"
	"testing"
)

func TestModulesAreTried(t *testing.T) {
	b := serve(t, nil)
	const path = "/api/v1/modules/classify/try"
	f := func(code int, body, want string) {
		t.Helper()
		resp, got := b.do("POST", path, body)
		if resp.StatusCode != code || !strings.Contains(got, want) {
			t.Errorf("%.60s: got %d %s, want %d %s", body, resp.StatusCode, got, code, want)
		}
	}
	const two = `{"verdicts":[{"index":0,"verdict":"keep","records":[{"message":"hello","agent":"vm-17"}]},{"index":1,"verdict":"drop","records":[],"dropped":{"asked":1}}]}`
	_, got := b.do("POST", path, `{"message":"hello","agent":"vm-17"}`+"\n"+`{"message":"drop"}`+"\n")
	if want := `"verdict":"drop","records":[],"dropped":{"asked":1}}]}`; !strings.Contains(got, want) {
		t.Errorf("got %s want %s in it (as in %s)", got, want, two)
	}
	_, list := b.do("POST", path, ` [{"message":"hello","agent":"vm-17"}, {"message":"drop"}] `)
	if list != got {
		t.Errorf("a list gave %s, lines gave %s", list, got)
	}
	f(400, "", "holds no record")
	f(400, "[]", "holds no record")
	f(400, "hello", "record 0 is no JSON")
	f(400, `{"message":"a"}{"mesage":"b"}`, "record 1")
	f(400, `[{"message":"a"}`, "does not end")
	f(400, `[{"message":"a"}] {}`, "something follows")
	f(400, strings.Repeat(`{"message":"a"}`, maxTried+1), "more than 1000 records")
	f(200, strings.Repeat(`{"message":"a"}`, maxTried), `"index":999`)

	if resp, got := b.do("POST", "/api/v1/modules/clasify/try", `{"message":"a"}`); resp.StatusCode != 404 || !strings.Contains(got, "clasify") {
		t.Errorf("an unknown module: got %d %s", resp.StatusCode, got)
	}
	for _, path := range []string{"/api/v1/modules//try", "/api/v1/modules/a/b/try", "/api/v1/modules/try", "/api/v1/modules/classify"} {
		if resp, got := b.do("POST", path, `{"message":"a"}`); resp.StatusCode != 404 {
			t.Errorf("%s: got %d %s", path, resp.StatusCode, got)
		}
	}
	if resp, _ := b.get(path); resp.StatusCode != 405 {
		t.Errorf("GET: got %d want 405", resp.StatusCode)
	}
	b.server.trying.Lock()
	f(429, `{"message":"a"}`, "another module")
	b.server.trying.Unlock()
	if resp, got := b.get("/api/v1/modules"); resp.StatusCode != 200 || got != "{\"modules\":[]}\n" {
		t.Errorf("got %d %s", resp.StatusCode, got)
	}
}
