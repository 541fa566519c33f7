// A stand-in for `libtorch_cuda.so`, for machines without a GPU: libtorch's device `cuda` on the CPU's kernels. These fail
// here as they would on a GPU, or sooner:
// - memory of the device that is read or written as the machine's own: its addresses are none, which ends the process;
// - an operation on tensors of several devices;
// - a tensor that is used on another stream than its own, where nothing says which work is done first;
// - a stream whose work comes from more than one thread, which have to wait for each other.
// It is stricter than a GPU in some things (numbers of the CPU as tensors, copies between GPUs, results that are resized).
// It says nothing of a GPU's arithmetic, of its speed, of which operations are deterministic there or there at all for a
// type of numbers, or of memory that runs out, but for the count. Built by ci/standin; opened as the real one is. Variables of the environment:
// - STANDIN_LOG=FILE: a line for each operation: device, stream, name; a copy between the machine's memory and a
//   device's is called `aten::copy_to` or `aten::copy_from` the device, what is kept and given back `aten::empty_cache`;
// - STANDIN_OOM=N: the N-th time that memory is taken counts as one where there was none, and nothing comes of it;
// - STANDIN_WOBBLE=N: one in N gradients of a convolution, at random, is wrong in the last place of its first number.
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/stack.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <atomic>
#include <cstdlib>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <unistd.h>

namespace {

constexpr c10::DeviceType CUDA = c10::DeviceType::CUDA;
constexpr c10::DeviceIndex DEVICES = 2;

// Added to an address of the machine's, it is one that no memory has.
constexpr uintptr_t AWAY = uintptr_t{1} << 62;

thread_local c10::DeviceIndex device_now = 0;
thread_local std::array<c10::StreamId, DEVICES> stream_now = {};

// What a tensor's numbers lie in.
struct Memory {
    const c10::Storage host;
    const c10::Stream stream;
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
    c10::DeviceType type() const override { return CUDA; }
    c10::Device exchangeDevice(c10::Device device) const override {
        const c10::Device before = getDevice();
        setDevice(device);
        return before;
    }
    c10::Device getDevice() const override { return {CUDA, device_now}; }
    void setDevice(c10::Device device) const override {
        TORCH_CHECK(device.index() >= 0 && device.index() < DEVICES, "CUDA error: invalid device ordinal");
        device_now = device.index();
    }
    void uncheckedSetDevice(c10::Device device) const noexcept override { device_now = device.index(); }
    c10::Stream getStream(c10::Device device) const override {
        const auto index = device.has_index() ? device.index() : device_now;
        return c10::Stream(c10::Stream::UNSAFE, {CUDA, index}, stream_now.at(index));
    }
    c10::Stream getDefaultStream(c10::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
    c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override {
        static std::atomic<c10::StreamId> next = 1;
        return c10::Stream(c10::Stream::UNSAFE, device, next++);
    }
    c10::Stream exchangeStream(c10::Stream stream) const override {
        const auto before = getStream(stream.device());
        stream_now.at(stream.device_index()) = stream.id();
        return before;
    }
    // Each operation is over when its call is.
    void record(void**, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {}
    void block(void*, const c10::Stream&) const override {}
    bool queryEvent(void*) const override { return true; }
    bool queryStream(const c10::Stream&) const override { return true; }
    void synchronizeStream(const c10::Stream&) const override {}
    void synchronizeEvent(void*) const override {}
    void synchronizeDevice(c10::DeviceIndex) const override {}
    c10::DeviceIndex deviceCount() const noexcept override { return DEVICES; }
};

C10_REGISTER_GUARD_IMPL(CUDA, Guard)

struct CUDAHooks final : at::CUDAHooksInterface {
    explicit CUDAHooks(at::CUDAHooksArgs) {}
    void init() const override {}
    bool isBuilt() const override { return true; }
    bool isAvailable() const override { return true; }
    bool hasCUDA() const override { return true; }
    bool hasCUDART() const override { return true; }
    bool hasCuDNN() const override { return true; }
    bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
    c10::DeviceIndex deviceCount() const override { return DEVICES; }
    int getNumGPUs() const override { return DEVICES; }
    c10::DeviceIndex current_device() const override { return device_now; }
    c10::DeviceIndex getCurrentDevice() const override { return device_now; }
    long versionCUDART() const override { return 13000; }
    long versionCuDNN() const override { return 0; }
    long versionRuntimeCuDNN() const override { return 0; }
};

} // namespace

namespace at {
REGISTER_CUDA_HOOKS(CUDAHooks)
} // namespace at

namespace {

// A line of the log.
void write_log(c10::DeviceIndex device, c10::StreamId stream, const std::string& name) {
    static const char* path = std::getenv("STANDIN_LOG");
    static const int file = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (file < 0) return;
    const auto line = c10::str(int{device}, ' ', stream, ' ', name, '\n');
    TORCH_CHECK(write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size()), "stand-in: no log");
}

// Counts memory; `Operation` takes it.
struct Counting final : c10::DeviceAllocator {
    std::array<std::atomic<int64_t>, DEVICES> ooms = {};
    std::atomic<int> taken = 0;

    void take(c10::DeviceIndex device) {
        static const char* given = std::getenv("STANDIN_OOM");
        static const int at = given ? std::atoi(given) : 0;
        if (++taken == at) ++ooms.at(device);
    }
    c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override {
        c10::CachingDeviceAllocator::DeviceStats stats;
        stats.num_ooms = ooms.at(device);
        return stats;
    }
    bool initialized() override { return true; }
    void emptyCache(c10::MempoolId_t) override {
        const auto stream = Guard().getStream({CUDA, device_now});
        write_log(device_now, stream.id(), "aten::empty_cache");
    }
    void recordStream(const c10::DataPtr&, c10::Stream) override {}
    void resetAccumulatedStats(c10::DeviceIndex) override {}
    void resetPeakStats(c10::DeviceIndex) override {}
    c10::DataPtr allocate(size_t) override { TORCH_CHECK(false, "stand-in: memory is taken past its operations"); }
    void copy_data(void*, const void*, size_t) const override { TORCH_CHECK(false, "stand-in: memory is copied past its operations"); }
};

Counting counting;

REGISTER_ALLOCATOR(CUDA, &counting)

// The work of a stream has to come from one thread.
void one_thread(const c10::Stream& stream) {
    static std::mutex lock;
    static std::map<std::pair<c10::DeviceIndex, c10::StreamId>, std::thread::id> threads;
    const std::lock_guard<std::mutex> guard(lock);
    const auto thread = threads.emplace(std::make_pair(stream.device_index(), stream.id()), std::this_thread::get_id());
    TORCH_CHECK(thread.first->second == std::this_thread::get_id(), "stand-in: two threads work on ", stream);
}

// One operation, on the CPU.
class Operation {
public:
    explicit Operation(const std::string& name) : name(name) {}

    // The CPU's side of a tensor.
    at::Tensor here(const at::Tensor& tensor) {
        if (!tensor.defined()) return tensor;
        if (tensor.is_cpu()) {
            // What is written comes first.
            if (name == "aten::copy_") (device ? arrives : leaves) = true;
            TORCH_CHECK(arrives || leaves || tensor.unsafeGetTensorImpl()->is_wrapped_number(),
                "stand-in: ", name, " is given a tensor of the CPU and one of a GPU");
            return tensor;
        }
        const auto* memory = static_cast<const Memory*>(tensor.storage().data_ptr().get_context());
        on(tensor.device());
        const auto now = guard.getStream(tensor.device());
        TORCH_CHECK(memory->stream == now, "stand-in: ", name, " on ", now, " is given a tensor of ", memory->stream);
        auto side = at::detail::make_tensor<c10::TensorImpl>(
            c10::Storage(memory->host), c10::DispatchKeySet(c10::DispatchKey::CPU), tensor.dtype());
        side.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
        sides.emplace_back(tensor, side);
        return side;
    }

    c10::Device here(c10::Device asked) {
        if (asked.is_cpu()) return asked;
        on({CUDA, asked.has_index() ? asked.index() : device_now});
        return c10::DeviceType::CPU;
    }

    // The device's side of what the CPU came to.
    at::Tensor there(const at::Tensor& side) const {
        if (!side.defined() || leaves) return side;
        for (const auto& [tensor, of] : sides)
            if (of.is_same(side)) {
                const auto* memory = static_cast<const Memory*>(tensor.storage().data_ptr().get_context());
                TORCH_CHECK(tensor.sizes() == side.sizes() && tensor.strides() == side.strides() &&
                        tensor.storage_offset() == side.storage_offset() && memory->host.is_alias_of(side.storage()),
                    "stand-in: ", name, " changes where a tensor lies, which is not written here");
                return tensor;
            }
        for (const auto& [tensor, of] : sides)
            if (of.storage().is_alias_of(side.storage())) return lay(tensor.storage(), side);
        const auto stream = guard.getStream(*device);
        counting.take(device->index());
        const auto& numbers = side.storage();
        auto* address = static_cast<char*>(const_cast<void*>(numbers.data()));
        auto storage = c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), numbers.nbytes(),
            c10::DataPtr(address ? address + AWAY : nullptr, new Memory{numbers, stream},
                [](void* memory) { delete static_cast<Memory*>(memory); }, *device),
            nullptr, false);
        return lay(c10::Storage(std::move(storage)), side);
    }

    void log() const {
        if (device) write_log(device->index(), guard.getStream(*device).id(), name + (arrives ? "to" : leaves ? "from" : ""));
    }

private:
    const std::string& name;
    const Guard guard;
    bool arrives = false, leaves = false; // of a copy, from the machine's memory or to it
    std::optional<c10::Device> device;
    std::vector<std::pair<at::Tensor, at::Tensor>> sides;

    void on(c10::Device one) {
        TORCH_CHECK(!device || *device == one, "stand-in: ", name, " is given tensors of two GPUs");
        device = one;
        one_thread(guard.getStream(one));
    }

    static at::Tensor lay(c10::Storage storage, const at::Tensor& as) {
        auto tensor = at::detail::make_tensor<c10::TensorImpl>(
            std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CUDA), as.dtype());
        tensor.unsafeGetTensorImpl()->set_sizes_and_strides(as.sizes(), as.strides(), as.storage_offset());
        return tensor;
    }
};

void wobble(const at::Tensor& gradient) {
    static const char* given = std::getenv("STANDIN_WOBBLE");
    static const unsigned every = given ? std::atoi(given) : 0;
    if (every == 0 || !gradient.defined() || gradient.numel() == 0) return;
    thread_local std::mt19937 chance{std::random_device{}()};
    if (chance() % every == 0) *static_cast<uint32_t*>(gradient.data_ptr()) ^= 1;
}

void compute(const c10::OperatorHandle& operation, c10::DispatchKeySet, torch::jit::Stack* stack) {
    const auto& schema = operation.schema();
    const auto& name = schema.name();
    Operation call(name);
    for (auto place = stack->end() - schema.arguments().size(); place != stack->end(); ++place) {
        auto& value = *place;
        if (value.isTensor()) {
            value = call.here(value.toTensor());
        } else if (value.isTensorList()) {
            std::vector<at::Tensor> list;
            for (const at::Tensor& tensor : value.toTensorList()) list.push_back(call.here(tensor));
            value = list;
        } else if (value.isOptionalTensorList()) {
            c10::List<std::optional<at::Tensor>> list;
            for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorList())
                list.push_back(tensor ? std::optional(call.here(*tensor)) : std::nullopt);
            value = list;
        } else if (value.isDevice()) {
            value = call.here(value.toDevice());
        }
    }
    {
        const at::AutoDispatchBelowADInplaceOrView below;
        operation.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
    }
    for (auto place = stack->end() - schema.returns().size(); place != stack->end(); ++place) {
        auto& value = *place;
        if (value.isTensor()) {
            if (name == "aten::convolution_backward") wobble(value.toTensor());
            value = call.there(value.toTensor());
        } else if (value.isTensorList()) {
            std::vector<at::Tensor> list;
            for (const at::Tensor& tensor : value.toTensorList()) list.push_back(call.there(tensor));
            value = list;
        }
    }
    call.log();
}

TORCH_LIBRARY_IMPL(_, CUDA, library) { library.fallback(torch::CppFunction::makeFromBoxedFunction<&compute>()); }

// What would be told apart by device before it comes to an operation that a CPU has.
TORCH_LIBRARY_IMPL(aten, CUDA, library) {
    for (const char* name : {"copy_", "convolution", "convolution_backward"})
        library.impl(name, torch::CppFunction::makeFromBoxedFunction<&compute>());
}

} // namespace
