// The gzip'd files of core/genesis/ as read-only data; core/genesis_data.h declares them.
        .macro genesis name, file
        .section .rodata.mptd_genesis, "a"
        .balign 16
        .global mptd_genesis_\name
mptd_genesis_\name:
        .incbin "\file"
        .global mptd_genesis_\name\()_end
mptd_genesis_\name\()_end:
        .byte 0
        .endm

        genesis mainnet, "core/genesis/mainnet.json.gz"
        genesis sepolia, "core/genesis/sepolia.json.gz"
        genesis holesky, "core/genesis/holesky.json.gz"
        genesis hoodi, "core/genesis/hoodi.json.gz"

        .section .note.GNU-stack, "", %progbits
