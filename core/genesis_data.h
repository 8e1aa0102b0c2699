// Where genesis_data.S puts the files of core/genesis/. Constants; safe from any thread.
#pragma once

extern "C" {
extern const char mptd_genesis_mainnet[], mptd_genesis_mainnet_end[];
extern const char mptd_genesis_sepolia[], mptd_genesis_sepolia_end[];
extern const char mptd_genesis_holesky[], mptd_genesis_holesky_end[];
extern const char mptd_genesis_hoodi[], mptd_genesis_hoodi_end[];
}
