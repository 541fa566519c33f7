// A stand-in for NVIDIA's driver, `libcuda.so.1`: the functions that `numerics/driver.rs` asks, and no others. Built by
// ci/standin. Variables of the environment, each a number (CUDA_VISIBLE_DEVICES is none of them):
// - STANDIN_GPUS: how many there are [default: 2]; of three, the last does not answer;
// - STANDIN_OLD: how many of them, from the first, are too old for libtorch [default: 0];
// - STANDIN_VERSION: the CUDA version that it supports, as 13000 [default];
// - STANDIN_REFUSES: what it answers at first [default: 0, or that there is no GPU].
#include <stdio.h>
#include <stdlib.h>

enum { major = 75, gone = 100 };

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

static int gpus(void) { return number("STANDIN_GPUS", 2); }

int cuInit(unsigned flags) { return number("STANDIN_REFUSES", gpus() ? 0 : gone); }

int cuGetErrorString(int code, const char **text) {
    *text = "as the stand-in was told";
    return 0;
}

int cuDriverGetVersion(int *version) {
    *version = number("STANDIN_VERSION", 13000);
    return 0;
}

int cuDeviceGetCount(int *count) {
    *count = gpus();
    return 0;
}

int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return 0;
}

int cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, size, "stand-in %d", device);
    return device > 1;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    *bytes = (size_t)16 << 30;
    return 0;
}

int cuDeviceGetAttribute(int *value, int what, int device) {
    *value = what == major ? (device < number("STANDIN_OLD", 0) ? 6 : 9) : 0;
    return 0;
}
