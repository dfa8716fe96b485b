package relaywire

import "testing"

func TestCircleEndsWhereItBegan(t *testing.T) {
	a, b, c := Hop{Agent: Agent{1}, Name: "a"}, Hop{Agent: Agent{2}, Name: "b\n"}, Hop{Agent: Agent{3}, Name: "c"}
	if got, want := Circle(a, []Hop{b, c, a, c}), `"a" → "b\n" → "c" → "a"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
