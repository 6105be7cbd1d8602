package main

import (
	"fmt"
	"slices"
	"syscall"
	"time"
)

// A contender is a command that is timed.
type contender struct {
	name   string
	args   []string
	as     *syscall.Credential // nil: root
	before func()              // nil, or what is done before each run, and is not timed
	ms     []float64
}

// table runs the contenders in turn and prints a row for each. Ratios are to the
// first one's run of the same round.
func table(rounds int, list []*contender) {
	measure(rounds, list)
	fmt.Println("| | median ms | 95th percentile | ratio |")
	fmt.Println("|---|---|---|---|")
	for _, c := range list {
		fmt.Printf("| %s | %.2f | %.2f | %.2f |\n", c.name, quantile(c.ms, 0.5), quantile(c.ms, 0.95), ratio(c, list[0]))
	}
}

// measure runs the contenders in turn; two rounds to warm up are not counted.
func measure(rounds int, list []*contender) {
	for round := range rounds + 2 {
		for _, c := range list {
			if c.before != nil {
				c.before()
			}
			began := time.Now()
			outputAs(c.as, c.args...)
			if round >= 2 {
				c.ms = append(c.ms, float64(time.Since(began).Microseconds())/1000)
			}
		}
	}
}

func ratio(c, first *contender) float64 {
	var r []float64
	for i := range c.ms {
		r = append(r, c.ms[i]/first.ms[i])
	}
	return quantile(r, 0.5)
}

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1))]
}
