// The solver's rule, for some tensors at once: each line is one operation over all of them, a few launches on a GPU and
// not one for each tensor. Uses libtorch's headers; called by update.rs alone, whose `Form` is `Form` here. tch has no
// calls for operations over lists.
#include <ATen/core/Tensor.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_sub.h>
#include <cstring>

enum Form : int32_t { plain, caffe_weight, caffe_bias };

// Changes `count` weights and their momentum, in place. Where libtorch refuses, it is 0 and `message` says why.
extern "C" int32_t selffer_update(
    Form form, double momentum, double decay, double rate, size_t count, at::Tensor* const* weights,
    at::Tensor* const* velocities, at::Tensor* const* gradients, char* message, size_t message_size) noexcept {
    try {
        const auto list = [count](at::Tensor* const* tensors) {
            std::vector<at::Tensor> list;
            for (size_t at = 0; at < count; ++at) list.push_back(*tensors[at]);
            return list;
        };
        const auto w = list(weights), v = list(velocities), gradient = list(gradients);
        std::vector<at::Tensor> change;
        switch (form) {
        case plain: // v ← momentum · v + (gradient + decay · w);  w ← w − rate · v
            change = at::_foreach_mul(w, decay);
            at::_foreach_add_(change, gradient);
            break;
        case caffe_weight: // v ← momentum · v + rate · (gradient + decay · w);  w ← w − v
            change = at::_foreach_mul(w, decay);
            at::_foreach_add_(change, gradient);
            at::_foreach_mul_(change, rate);
            break;
        case caffe_bias: // v ← momentum · v + rate · gradient;  w ← w − v
            change = at::_foreach_mul(gradient, rate);
            break;
        }
        at::_foreach_mul_(v, momentum);
        at::_foreach_add_(v, change);
        at::_foreach_sub_(w, form == plain ? at::_foreach_mul(v, rate) : v);
        return 1;
    } catch (const std::exception& error) {
        strncpy(message, error.what(), message_size - 1);
        return 0;
    } catch (...) {
        strncpy(message, "not an std::exception", message_size - 1);
        return 0;
    }
}
