package record

import "testing"

func TestTextIsOneLineForPeople(t *testing.T) {
	r := sample()
	r.Message = []byte("started")
	r.Attrs.SetString("path", "/a b")
	r.Attrs.SetString("empty", "")
	r.Attrs.SetFloat("took", 1.5)
	r.Attrs.SetBool("ok", true)
	r.Attrs.Set("list", JSON, []byte("[1]"))
	want := `2026-11-22T10:07:05.143Z vm nginx[2833] info: started  status=200 path="/a b" empty="" took=1.5 ok=true list=[1]`
	if got := string(AppendText(nil, encode(t, r), Meta{}, TextOptions{Terminal: true})); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var bare Record
	bare.Reset()
	if got, want := string(AppendText(nil, encode(t, &bare), Meta{}, TextOptions{})), "1970-01-01T00:00:00.000Z - -: "; got != want {
		t.Errorf("got %q want %q", got, want)
	}
}
