package main

import (
	"os"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/ethdb/pebble"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/ethereum/go-ethereum/triedb/pathdb"
)

const cleanCache = 256 << 20

// store is go-ethereum's state on its path database on Pebble, used as its client does.
type store struct {
	dir    string
	disk   ethdb.Database
	tries  *triedb.Database
	states *state.MPTDatabase
	rules  params.Rules
	root   common.Hash
	number uint64
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// newStore starts in an empty folder.
func newStore(dir string) *store {
	must(os.RemoveAll(dir))
	s := &store{dir: dir, root: types.EmptyRootHash}
	s.rules = params.MergedTestChainConfig.Rules(common.Big1, true, 1<<40)
	// The state is a Merkle Patricia Trie, and blocks do not record what they access.
	s.rules.IsAmsterdam, s.rules.IsBogota, s.rules.IsUBT = false, false, false
	s.open()
	return s
}

func (s *store) open() {
	kv, err := pebble.New(s.dir, 512, 1024, "", false)
	must(err)
	s.disk, err = rawdb.Open(kv, rawdb.OpenOptions{Ancient: s.dir + "/ancient"})
	must(err)
	config := *pathdb.Defaults
	config.TrieCleanSize, config.StateCleanSize, config.WriteBufferSize = cleanCache, cleanCache, cleanCache
	config.StateHistory = 128
	s.tries = triedb.NewDatabase(s.disk, &triedb.Config{PathDB: &config})
	s.states = state.NewMPTDatabase(s.tries, nil)
}

func (s *store) close() {
	must(s.tries.Journal(s.root))
	must(s.tries.Close())
	must(s.disk.Close())
}

func (s *store) apply(changes []change) {
	block, err := state.New(s.root, s.states)
	must(err)
	for _, c := range changes {
		if c.nonce != 0 {
			block.SetNonce(c.address, c.nonce, tracing.NonceChangeUnspecified)
		}
		if c.funded {
			block.SetBalance(c.address, balanceOf(c.balance), tracing.BalanceChangeUnspecified)
		}
		for _, slot := range c.slots {
			block.SetState(c.address, word(slot.key), word(slot.value))
		}
	}
	s.number++
	s.root, err = block.Commit(s.rules, s.number)
	must(err)
}

// reader returns what reads accounts of the newest block.
func (s *store) reader() func(common.Address) {
	reader, err := s.states.Reader(s.root)
	must(err)
	return func(address common.Address) {
		account, err := reader.Account(address)
		must(err)
		if account == nil {
			panic("an account that was written is not there")
		}
	}
}

func (s *store) prove(address common.Address) {
	accounts, err := trie.NewStateTrie(trie.StateTrieID(s.root), s.tries)
	must(err)
	must(accounts.Prove(crypto.Keccak256(address[:]), memorydb.New()))
}
