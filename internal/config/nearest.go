package config

import (
	"fmt"
	"slices"
	"strings"
)

// Nearest returns the known word that word was probably meant to be.
func Nearest(word string, known []string) (string, bool) {
	best, bestAt := 1+max(1, len(word)/3), ""
	for _, k := range known {
		if strings.EqualFold(word, k) || squash(word) == squash(k) {
			return k, true
		}
		if d := distance(word, k); d < best {
			best, bestAt = d, k
		}
	}
	if bestAt == "" && len(word) >= 3 {
		for _, k := range known {
			if strings.HasPrefix(k, word) || len(k) >= 3 && strings.HasPrefix(word, k) {
				return k, true
			}
		}
	}
	return bestAt, bestAt != ""
}

// squash makes maxSize, max-size and max_size one word.
func squash(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
}

// distance counts the letters to insert, delete, change or swap with their
// neighbour to get from a to b.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// Choices lists words for an error message: "a, b or c". Order is kept.
func Choices(words []string) string {
	switch len(words) {
	case 0:
		return "nothing"
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// Suggest says what to write instead of an unknown word: the nearest known one,
// or all of them.
func Suggest(word string, known []string) string {
	if near, ok := Nearest(word, known); ok {
		return fmt.Sprintf("write %s", near)
	}
	known = slices.Clone(known)
	return "write " + Choices(known)
}
