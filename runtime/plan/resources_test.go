package plan

import (
	"math"
	"reflect"
	"testing"

	"mayfly/runtime/policy/rule"
)

func TestResourcesAreBoundedWhateverIsAsked(t *testing.T) {
	swap := func(n int64) *int64 { return &n }
	most := rule.Limits{Memory: 1000, Tasks: 50, CPU: 2, CPUWeight: 200}
	for what, c := range map[string]struct {
		asked Resources
		most  rule.Limits
		want  map[string]string
	}{
		"nothing":            {Resources{}, rule.Limits{}, map[string]string{}},
		"asked for":          {Resources{Memory: 5, CPUs: 1.5, IOWeight: 7}, rule.Limits{}, map[string]string{"memory.max": "5", "memory.swap.max": "0", "cpu.max": "150000 100000", "io.weight": "7"}},
		"with swap":          {Resources{Memory: 5, Swap: swap(9)}, rule.Limits{}, map[string]string{"memory.max": "5", "memory.swap.max": "9"}},
		"the policy's":       {Resources{}, most, map[string]string{"memory.max": "1000", "memory.swap.max": "0", "pids.max": "50", "cpu.max": "200000 100000", "cpu.weight": "200"}},
		"less":               {Resources{Memory: 10, Tasks: 5, CPUs: 1, CPUWeight: 100}, most, map[string]string{"memory.max": "10", "memory.swap.max": "0", "pids.max": "5", "cpu.max": "100000 100000", "cpu.weight": "100"}},
		"more":               {Resources{Memory: 1e6, Swap: swap(1e6), Tasks: 1e6, CPUs: 99, CPUWeight: 9999}, most, map[string]string{"memory.max": "1000", "memory.swap.max": "0", "pids.max": "50", "cpu.max": "200000 100000", "cpu.weight": "200"}},
		"the policy's swap":  {Resources{Swap: swap(30)}, rule.Limits{Swap: 20}, map[string]string{"memory.swap.max": "20"}},
		"less than its swap": {Resources{Swap: swap(3)}, rule.Limits{Memory: 9, Swap: 20}, map[string]string{"memory.max": "9", "memory.swap.max": "3"}},
	} {
		if got := c.asked.within(c.most).settings(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
	for _, bad := range []Resources{{Memory: -1}, {Swap: swap(-1)}, {Tasks: -1}, {CPUs: -1}, {CPUs: 0.001}, {CPUs: math.NaN()}, {CPUs: math.Inf(1)}, {CPUWeight: 10001}, {IOWeight: -1}} {
		if bad.check() == nil {
			t.Errorf("%+v: accepted", bad)
		}
	}
}
