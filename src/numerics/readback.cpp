// What libtorch itself says of how it computes, once a policy was put in force. Uses libtorch's headers;
// called by readback.rs alone, whose `Raw` is `Raw` here. torch-sys has no calls for this.
#include <ATen/Context.h>
#include <ATen/Version.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/AutogradState.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>

// MKL is inside libtorch_cpu.so, without its headers. Weak: another build of libtorch may have hidden it.
extern "C" {
__attribute__((weak)) int mkl_serv_cbwr_get(int option);
__attribute__((weak)) int mkl_serv_get_dynamic();
}

struct Raw {
    uint64_t version;
    int32_t mkl_branch;
    int32_t mkl_dynamic;
    int32_t deterministic;
    char capability[20];
};

// Makes operations without a deterministic implementation throw; 0 where libtorch refuses.
extern "C" int32_t selffer_be_deterministic() noexcept {
    try {
        at::globalContext().setDeterministicAlgorithms(true, false);
        // Else every new tensor is filled first. Nothing here reads what it did not write.
        at::globalContext().setDeterministicFillUninitializedMemory(false);
        return 1;
    } catch (...) {
        return 0;
    }
}

// Fills `raw`; 0 where libtorch refuses.
extern "C" int32_t selffer_read_back(Raw* raw) noexcept {
    try {
        *raw = Raw{};
        raw->version = aoti_torch_abi_version();
        raw->mkl_branch = mkl_serv_cbwr_get ? mkl_serv_cbwr_get(1) : -1;
        raw->mkl_dynamic = mkl_serv_get_dynamic ? mkl_serv_get_dynamic() : -1;
        raw->deterministic = at::globalContext().deterministicAlgorithms();
        at::get_cpu_capability().copy(raw->capability, sizeof raw->capability - 1);
        return 1;
    } catch (...) {
        return 0;
    }
}

struct RawCuda {
    int64_t cudart;
    int64_t cudnn;
    int32_t cudnn_deterministic;
    int32_t cudnn_benchmark;
    int32_t tf32_convolution;
    int32_t tf32_product;
};

// Has CUDA's libraries compute in float32 alone and in one way alone; 0 where libtorch refuses.
extern "C" int32_t selffer_be_deterministic_on_cuda() noexcept {
    try {
        auto& context = at::globalContext();
        context.setDeterministicCuDNN(true);
        context.setBenchmarkCuDNN(false);
        context.setAllowTF32CuDNN(false);
        context.setAllowTF32CuBLAS(false);
        return 1;
    } catch (...) {
        return 0;
    }
}

// Fills `raw`, without versions where there is no GPU; 0 where libtorch refuses.
extern "C" int32_t selffer_read_back_cuda(RawCuda* raw) noexcept {
    try {
        const auto& context = at::globalContext();
        const auto& hooks = at::detail::getCUDAHooks();
        *raw = RawCuda{};
        if (hooks.hasCUDA()) {
            raw->cudart = hooks.versionCUDART();
            raw->cudnn = hooks.versionRuntimeCuDNN();
        }
        raw->cudnn_deterministic = context.deterministicCuDNN();
        raw->cudnn_benchmark = context.benchmarkCuDNN();
        raw->tf32_convolution = context.allowTF32CuDNN();
        raw->tf32_product = context.allowTF32CuBLAS();
        return 1;
    } catch (...) {
        return 0;
    }
}

// Gives the calling thread a stream of its own on that GPU, and has it go backward by itself, not by the one thread that
// libtorch has for the GPU, so that networks side by side overlap; 0 where libtorch refuses.
extern "C" int32_t selffer_enter_cuda(int32_t ordinal) noexcept {
    try {
        const c10::Device device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(ordinal));
        const auto* guard = c10::impl::getDeviceGuardImpl(c10::DeviceType::CUDA);
        guard->setDevice(device);
        guard->exchangeStream(guard->getStreamFromGlobalPool(device, false));
        c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
        return 1;
    } catch (...) {
        return 0;
    }
}

// How often that GPU's memory ran out for this process, whether or not libtorch went on in another way; -1 where nobody counts.
extern "C" int64_t selffer_ran_out_of_memory(int32_t ordinal) noexcept {
    try {
        auto* allocator = c10::getDeviceAllocator(c10::DeviceType::CUDA);
        return allocator->getDeviceStats(static_cast<c10::DeviceIndex>(ordinal)).num_ooms;
    } catch (...) {
        return -1;
    }
}

// Gives the system what libtorch keeps of GPUs' memory and no tensor has; nothing where there is none.
extern "C" void selffer_release_cuda() noexcept {
    try {
        c10::getDeviceAllocator(c10::DeviceType::CUDA)->emptyCache();
    } catch (...) {
    }
}
