// Keeps the memory that a thread's large tensors gave back for its next ones: a step of training takes what the last one
// took, and from the system all of it would come as pages that are cleared first. Uses libtorch's headers; called by
// memory.rs alone.
#include <algorithm>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <vector>

namespace {

// Bytes from which on the C library has the system take back at once what is given back (memory.rs).
constexpr size_t LARGE = 32 << 20;

// What lies before a tensor's numbers, and leaves them aligned as libtorch has them.
struct alignas(c10::gAlignment) Block {
    size_t size;

    static Block* take(size_t size) {
        auto* block = static_cast<Block*>(c10::alloc_cpu(sizeof(Block) + size));
        block->size = size;
        return block;
    }
};

thread_local bool over = false; // the thread ends, and its `Kept` is no more

// What one thread keeps, oldest first.
struct Kept {
    std::vector<Block*> blocks;
    // Bytes: kept, in use, and the most that were in use at once.
    int64_t kept = 0, used = 0, most = 0;

    ~Kept() {
        release(0);
        over = true;
    }

    // Gives the system what is above `within` bytes.
    void release(int64_t within) {
        auto gone = blocks.begin();
        for (; gone != blocks.end() && kept > within; ++gone) {
            kept -= (*gone)->size;
            c10::free_cpu(*gone);
        }
        blocks.erase(blocks.begin(), gone);
    }

    // Kept and used, with what is to come, are no more than a quarter above what was used at once: tensors of a step differ
    // in size.
    void trim(int64_t coming) { release(std::max(most, used + coming) / 4 * 5 - used - coming); }

    Block* take(size_t size) {
        const auto as_large = [size](const Block* block) { return block->size == size; };
        const auto found = std::find_if(blocks.begin(), blocks.end(), as_large);
        Block* block = nullptr;
        if (found != blocks.end()) {
            block = *found;
            blocks.erase(found);
            kept -= size;
        } else {
            trim(size);
            try {
                block = Block::take(size);
            } catch (...) {
                if (blocks.empty()) throw;
                release(0);
                block = Block::take(size);
            }
        }
        used += size;
        most = std::max(most, used);
        return block;
    }

    void give_back(Block* block) {
        // Another thread may have taken it.
        used = std::max<int64_t>(used - static_cast<int64_t>(block->size), 0);
        try {
            blocks.push_back(block);
        } catch (...) {
            return c10::free_cpu(block);
        }
        kept += block->size;
        trim(0);
    }
};

thread_local Kept kept;

void give_back(void* numbers) {
    if (!numbers) return;
    auto* block = static_cast<Block*>(numbers) - 1;
    if (block->size < LARGE || over) c10::free_cpu(block);
    else kept.give_back(block);
}

struct Keeping final : c10::Allocator {
    c10::DataPtr allocate(size_t size) override {
        void* numbers = nullptr;
        if (size > 0) numbers = (size < LARGE || over ? Block::take(size) : kept.take(size)) + 1;
        return {numbers, numbers, give_back, at::Device(at::DeviceType::CPU)};
    }

    at::DeleterFnPtr raw_deleter() const override { return give_back; }

    void copy_data(void* to, const void* from, size_t count) const override { default_copy_data(to, from, count); }
};

} // namespace

// From now on, in all threads. Tensors that are there already are given back as they were taken.
extern "C" void selffer_keep_memory() noexcept {
    static auto* keeping = new Keeping; // to the end of the process
    c10::SetCPUAllocator(keeping, 1);
}

// Gives the system what the calling thread keeps.
extern "C" void selffer_release_memory() noexcept {
    if (over) return;
    kept.release(0);
    kept.most = kept.used;
}
