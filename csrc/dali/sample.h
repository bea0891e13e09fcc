// Common code of the three operators: turns a DALI sample into kernel arguments, and runs a twin on a batch.
#pragma once

#include <dali/pipeline/operator/operator.h>

#include <cmath>
#include <utility>
#include <vector>

#include "../kernels/check.h"
#include "../kernels/spec.h"
#include "../kernels/view.h"

namespace vidssl {

// Argument `source` of each sample, float32 [16]: height and width of the picture, chroma x and y, YUV -> RGB [3, 4].
constexpr int kSourceItems = 16;

inline const float* source_of(const dali::ArgumentWorkspace& ws, int sample) {
  const auto& source = ws.ArgumentInput("source");
  const auto& shape = source.tensor_shape(sample);
  check(source.type() == DALI_FLOAT && shape.num_elements() == kSourceItems, "source: it must be float32 [",
        kSourceItems, "]");
  const auto* values = static_cast<const float*>(source.raw_tensor(sample));
  for (int i = 0; i < 2; ++i)
    check(values[i] >= 1.0f && values[i] <= kMaxSide && std::trunc(values[i]) == values[i], "source: sample ", sample,
          " has ", i == 0 ? "height=" : "width=", values[i], ": take a whole number in 1..", kMaxSide);
  return values;
}

// Returns a view of frames uint8 [F, 3 * rows / 2, cols] or [F, H, W, 3] with a picture of height x width.
template <typename Backend>
FrameView frame_view(const dali::TensorList<Backend>& frames, int sample, int height, int width) {
  const auto& shape = frames.tensor_shape(sample);
  const int ndim = shape.sample_dim();
  check(frames.type() == DALI_UINT8 && (ndim == 3 || (ndim == 4 && shape[3] == 3)),
        "frames: they must be uint8 [F, 3 * rows / 2, cols] (YUV 4:2:0) or [F, H, W, 3] (RGB)");
  check(ndim == 4 || (shape[1] % 3 == 0 && shape[2] % 2 == 0),
        "frames: planar YUV 4:2:0 must have 3 * rows / 2 lines and even rows and cols");
  check_stored("frames", shape[0], ndim == 4 ? shape[1] : shape[1] / 3 * 2, shape[2]);
  FrameView view{};
  view.format = ndim == 4 ? Format::rgb : Format::yuv420;
  view.frames = static_cast<int>(shape[0]);
  view.rows = static_cast<int>(ndim == 4 ? shape[1] : shape[1] / 3 * 2);
  view.cols = static_cast<int>(shape[2]);
  check(height > 0 && height <= view.rows && width > 0 && width <= view.cols, "source: picture ", height, " x ", width,
        " does not fit into the stored ", view.rows, " x ", view.cols, "; pass a smaller height and width");
  view.height = height;
  view.width = width;
  view.data = static_cast<const std::uint8_t*>(frames.raw_tensor(sample));
  view.frame_stride = shape[0] > 0 ? shape.num_elements() / shape[0] : 0;
  pack(view);
  return view;
}

// Calls cpu(sample, 1) for each sample on DALI's thread pool, or cuda(all samples, count, stream) once.
template <typename Args, typename Cpu, typename Cuda>
void run_twin(dali::Workspace& ws, const std::vector<Args>& samples, dali::CPUBackend, Cpu&& cpu, Cuda&&) {
  auto& pool = ws.GetThreadPool();
  for (const Args& sample : samples) pool.AddWork([&sample, &cpu] { cpu(&sample, 1); });
  pool.RunAll();
}
template <typename Args, typename Cpu, typename Cuda>
void run_twin(dali::Workspace& ws, const std::vector<Args>& samples, dali::GPUBackend, Cpu&&, Cuda&& cuda) {
  cuda(samples.data(), static_cast<int>(samples.size()), static_cast<void*>(ws.stream()));
}

// Describes an output with the same shape for each sample of a batch.
inline dali::OutputDesc uniform(int batch, const dali::TensorShape<>& shape, dali::DALIDataType type) {
  return {dali::uniform_list_shape(batch, shape), type};
}

}  // namespace vidssl
