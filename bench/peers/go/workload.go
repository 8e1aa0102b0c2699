package main

import (
	"encoding/binary"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// rng is splitmix64, as in bench/rng.h.
type rng struct{ state uint64 }

func (r *rng) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

func addressOf(i uint64) (address common.Address) {
	draws := rng{i}
	var bytes [24]byte
	for k := 0; k < 24; k += 8 {
		binary.LittleEndian.PutUint64(bytes[k:], draws.next())
	}
	copy(address[:], bytes[:])
	return address
}

func balanceOf(x uint64) *uint256.Int {
	oneEther := uint256.NewInt(1_000_000_000_000_000_000)
	return oneEther.Add(oneEther, uint256.NewInt(x))
}

func word(x uint64) common.Hash { return uint256.NewInt(x).Bytes32() }

type slot struct{ key, value uint64 }

// change is what a block does to one account; a nonce of 0 leaves nonce and balance as they are.
type change struct {
	address common.Address
	nonce   uint64
	balance uint64 // above 10^18
	funded  bool
	slots   []slot
}

var contract = common.HexToAddress("0x00000000000000000000000000000000c0ffee00")

// workload is what bench/workload.cc makes, draw by draw.
type workload struct {
	profile       string
	accounts      uint64
	updates       uint64
	slots         uint64
	contracts     uint64
	contractSlots uint64
	preloadBlock  uint64
}

// preload calls each with the blocks of the preload.
func (w *workload) preload(each func([]change)) {
	items, inBlock := w.accounts, w.preloadBlock
	switch w.profile {
	case "one-contract":
		items = w.slots
	case "many-contracts":
		items, inBlock = w.contracts, max(1, w.preloadBlock/(w.contractSlots+1))
	}
	for begin := uint64(0); begin < items; begin += inBlock {
		each(w.preloadItems(begin, min(items, begin+inBlock)))
	}
}

func (w *workload) preloadItems(begin, end uint64) (changes []change) {
	if w.profile == "one-contract" {
		all := change{address: contract, nonce: 1}
		for i := begin; i < end; i++ {
			all.slots = append(all.slots, slot{i, i + 1})
		}
		return []change{all}
	}
	for i := begin; i < end; i++ {
		account := change{address: addressOf(i), nonce: 1, balance: i, funded: true}
		if w.profile == "many-contracts" {
			for s := uint64(0); s < w.contractSlots; s++ {
				account.slots = append(account.slots, slot{s, s + 1})
			}
		}
		changes = append(changes, account)
	}
	return changes
}

// block is the block with this number, counted from 0, drawn from r. Later changes of the same thing win.
func (w *workload) block(number uint64, r *rng) (changes []change) {
	if w.profile == "one-contract" {
		all := change{address: contract}
		for range w.updates {
			all.slots = append(all.slots, slot{r.next() % w.slots, number + 7})
		}
		return []change{all}
	}
	for range w.updates {
		if w.profile == "accounts" {
			index := r.next() % w.accounts
			changes = append(changes, change{address: addressOf(index), nonce: number + 2, balance: r.next(), funded: true})
			continue
		}
		touched := change{address: addressOf(r.next() % w.contracts)}
		for range 2 {
			key := r.next() % w.contractSlots
			touched.slots = append(touched.slots, slot{key, r.next() | 1})
		}
		changes = append(changes, touched)
	}
	return changes
}

// target is the account that a draw reads.
func (w *workload) target(draw uint64) common.Address {
	switch w.profile {
	case "one-contract":
		return contract
	case "many-contracts":
		return addressOf(draw % w.contracts)
	}
	return addressOf(draw % w.accounts)
}

func (w *workload) updatesPerBlock() uint64 {
	if w.profile == "many-contracts" {
		return 2 * w.updates
	}
	return w.updates
}
