// Package nearest finds the word that somebody may have meant.
package nearest

// To returns the known word that differs least from one that is not known, or "" where
// none is similar. Of equally near words it is the first.
func To(word string, known []string) string {
	best, least := "", 1+min(2, len(word)/2)
	for _, k := range known {
		if k == "" || k == word {
			continue
		}
		if d := distance(word, k, least); d < least {
			best, least = k, d
		}
	}
	return best
}

// Advice returns "; did you mean WORD?", or "" where none is similar. format writes
// the word as it is typed.
func Advice(word string, known []string, format func(string) string) string {
	found := To(word, known)
	if found == "" {
		return ""
	}
	if format != nil {
		found = format(found)
	}
	return "; did you mean " + found + "?"
}

// distance counts the bytes that are to be inserted, deleted, replaced, or exchanged
// with the next one, to make b of a. It may return any number from most on for what is
// as far as that or farther: names are short, and this bounds the work for others.
func distance(a, b string, most int) int {
	if len(a)-len(b) >= most || len(b)-len(a) >= most {
		return most
	}
	before, last, now := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now[0] = i
		nearest := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			now[j] = min(last[j]+1, now[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
			nearest = min(nearest, now[j])
		}
		if nearest >= most {
			return most
		}
		before, last, now = last, now, before
	}
	return last[len(b)]
}
