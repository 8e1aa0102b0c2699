// How the allocator of the programs is set up: huge pages, because a trie's nodes are visited in no order and page
// tables of small pages do not fit into the processor's caches; a thread of its own to give memory back, because that
// interrupts all cores; and no special place for large pieces, which would give them back at once, though the next
// flush asks for the same again. MALLOC_CONF in the environment has the last word.
extern "C" {
// Read by jemalloc when it starts.
extern const char* malloc_conf;
const char* malloc_conf = "thp:always,background_thread:true,oversize_threshold:0";
}
