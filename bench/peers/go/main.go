// Runs the workload of bench/peers/README.md on go-ethereum and prints its figures as one JSON object, with the keys that
// mptd-bench uses.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"
)

type latencies []time.Duration

// percentile returns the value below which the part p of the others is; they get sorted.
func (l latencies) percentile(p float64) time.Duration {
	sort.Slice(l, func(i, j int) bool { return l[i] < l[j] })
	return l[int(float64(len(l)-1)*p)]
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// diskBytes is what the files in a folder take.
func diskBytes(dir string) (bytes int64) {
	must(filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		if info, err := entry.Info(); err == nil {
			bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	}))
	return bytes
}

// peakMemoryBytes is the most memory that this process has had.
func peakMemoryBytes() (kib int64) {
	status, err := os.ReadFile("/proc/self/status")
	must(err)
	for _, line := range strings.Split(string(status), "\n") {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			_, err := fmt.Sscan(rest, &kib)
			must(err)
		}
	}
	return kib * 1024
}

// measurePass times count calls with the draws of a seed.
func measurePass(count, seed uint64, call func(draw uint64)) (perSecond float64) {
	draws := rng{seed}
	start := time.Now()
	for range count {
		call(draws.next())
	}
	return float64(count) / time.Since(start).Seconds()
}

func run(w *workload, dir string, blocks, reads, proofs uint64) map[string]any {
	s := newStore(dir)
	start := time.Now()
	w.preload(s.apply)
	record := map[string]any{
		"target": "go-ethereum", "preload_s": time.Since(start).Seconds(), "preload_root": fmt.Sprintf("%#x", s.root),
	}
	s.close()
	s.open()

	draws := rng{42}
	times := latencies{}
	series := []float64{}
	start = time.Now()
	for number := range blocks {
		changes := w.block(number, &draws)
		one := time.Now()
		s.apply(changes)
		times = append(times, time.Since(one))
		series = append(series, ms(times[len(times)-1]))
	}
	record["updates_per_s"] = float64(blocks*w.updatesPerBlock()) / time.Since(start).Seconds()
	record["block_ms"] = series
	record["block_p50_ms"], record["block_p90_ms"] = ms(times.percentile(0.5)), ms(times.percentile(0.9))
	record["block_p99_ms"], record["block_max_ms"] = ms(times.percentile(0.99)), ms(times.percentile(1))
	record["root"] = fmt.Sprintf("%#x", s.root)
	s.close()
	record["disk_mb"] = float64(diskBytes(dir)) / 1e6
	s.open()

	read := s.reader()
	for _, pass := range []string{"cold", "warm"} {
		record["read_"+pass+"_per_s"] = measurePass(reads, 7, func(draw uint64) { read(w.target(draw)) })
	}
	for _, pass := range []string{"cold", "warm"} {
		record["proof_"+pass+"_per_s"] = measurePass(proofs, 9, func(draw uint64) { s.prove(w.target(draw)) })
	}
	record["peak_mb"] = float64(peakMemoryBytes()) / 1e6
	s.close()
	return record
}

func main() {
	w := &workload{}
	flag.StringVar(&w.profile, "profile", "accounts", "accounts, one-contract or many-contracts")
	flag.Uint64Var(&w.accounts, "accounts", 1_000_000, "accounts that are preloaded")
	flag.Uint64Var(&w.updates, "updates", 1000, "what a block changes")
	flag.Uint64Var(&w.slots, "slots", 1_000_000, "one-contract: its slots")
	flag.Uint64Var(&w.contracts, "contracts", 100_000, "many-contracts: how many")
	flag.Uint64Var(&w.contractSlots, "contract-slots", 10, "many-contracts: slots of each")
	flag.Uint64Var(&w.preloadBlock, "preload-block", 10_000, "accounts or slots in a block of the preload")
	blocks := flag.Uint64("blocks", 300, "blocks that are measured")
	reads := flag.Uint64("reads", 200_000, "reads in a pass")
	proofs := flag.Uint64("proofs", 5000, "proofs in a pass")
	dir := flag.String("data-dir", "./peers-data", "a folder for the data, in go-ethereum inside of it")
	flag.Parse()
	out, err := json.Marshal(run(w, filepath.Join(*dir, "go-ethereum"), *blocks, *reads, *proofs))
	must(err)
	fmt.Println(string(out))
}
