"""CodeFormer on photos: masks, paste, gradient, and the released code on the same pixels."""

import resource
import time
from typing import Any

import pytest
import torch
from full_files import package
from tiny_codeformer import AS_THEY_ARE
from torch import Tensor

from diffshortcut.models.codeformer import CodeFormer
from diffshortcut.models.faces import Face
from diffshortcut.models.geometry import similarity
from diffshortcut.models.paste import parse_mask, paste, square_mask
from diffshortcut.models.restorer import FFHQ, OUTSIDE, Restorer, aligned, is_grey
from diffshortcut.models.vq import OFFICIAL
from diffshortcut.pictures.images import resize
from diffshortcut.seeding import Draws

DRAWS = Draws(0, "purify", "nobody")
POINTS = FFHQ / 512 * 40 + torch.tensor([25.0, 12.0])  # a face 40 pixels wide in PHOTO
PHOTO = resize(DRAWS.uniform("photo", (3, 8, 8), 2), (64, 80))


class Found:
    """A detector that finds in every image the faces with these landmarks."""

    def __init__(self, *points: Tensor) -> None:
        self.points = points
        self.seen: list[Tensor] = []

    def detect(self, images: Tensor) -> list[list[Face]]:
        self.seen.append(images)
        faces = [Face(box=torch.zeros(4), score=1.0, points=points) for points in self.points]
        return [faces for _ in images]


def restorer(detector: Found, parser: Any = None) -> Restorer:
    torch.manual_seed(0)
    net = CodeFormer(AS_THEY_ARE).eval().requires_grad_(False)
    torch.nn.init.normal_(net.quantize.embedding.weight)
    return Restorer(net=net, detector=detector, parser=parser)


def identity(detector: Found, parser: Any = None) -> Restorer:
    found = restorer(detector, parser)
    found.net.forward = lambda x, **options: (x, None, None)
    return found


def test_the_mask_fades_at_the_border() -> None:
    covered = torch.zeros(1, 100, 100)
    covered[:, 10:90, 10:90] = 1
    mask = square_mask(covered)[0]
    torch.testing.assert_close(mask[50, 50], torch.tensor(1.0))
    assert mask[:14].max() < 0.2
    profile = mask[50, :50]
    assert (profile.diff() >= -1e-6).all() and ((profile > 0) & (profile < 1)).sum() >= 4
    torch.testing.assert_close(mask, mask.T)


def test_the_parsings_border_is_never_pasted() -> None:
    mask = parse_mask(torch.ones(1, 512, 512))
    assert mask[0, :10].max() == mask[0, :, -10:].max() == 0
    torch.testing.assert_close(mask[0, 10:-10, 10:-10], torch.ones(492, 492))


def test_what_is_no_face_is_not_pasted() -> None:
    """A parsing of nothing leaves the photo as it is."""
    none = identity(Found(POINTS), lambda faces: torch.zeros(len(faces), 1, 512, 512))
    none.net.forward = lambda x, **options: (torch.ones_like(x), None, None)
    assert torch.equal(none(PHOTO), PHOTO)
    half = identity(Found(POINTS), lambda faces: (torch.arange(512.0) < 256).expand(1, 1, 512, 512))
    half.net.forward = none.net.forward
    white = half(PHOTO)[0]
    left, right = (int(POINTS[0, 0]), int(POINTS[1, 0]))
    assert white[:, 32, left].min() > 0.99
    torch.testing.assert_close(white[:, 32, right], PHOTO[0, :, 32, right], atol=0.02, rtol=0)


def test_every_face_is_restored() -> None:
    second = POINTS - torch.tensor([25.0, 0])
    white = identity(Found(POINTS, second))
    white.net.forward = lambda x, **options: (torch.ones_like(x), None, None)
    found = white(PHOTO)[0]
    for points in (POINTS, second):
        x, y = points[2].round().int().tolist()
        torch.testing.assert_close(found[:, y, x], torch.ones(3))


def test_faces_that_are_too_small_stay() -> None:
    close = torch.tensor([30.0, 20.0]) + (FFHQ - FFHQ.mean(0)) / 512 * 15
    assert (close[0] - close[1]).norm() < 5
    assert torch.equal(restorer(Found(close))(PHOTO), PHOTO)


def test_small_photos_are_enlarged_to_find_their_faces() -> None:
    detector = Found((POINTS + 0.5) * 2 - 0.5)
    small = PHOTO[:1, :, :16, :40]
    photo = identity(Found()).net.config.resolution
    identity(detector)(small)
    assert detector.seen[0].shape == (1, 3, photo, 80)


def test_an_enlarged_photo_gets_its_face_where_it_was() -> None:
    """16 x 20 pixels are searched at 32 x 40; of a ramp, identity must give the same pixels."""
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(20.0), indexing="ij")
    ramp = torch.stack([x / 20, y / 16, (x + y) / 36])[None]
    points = FFHQ / 512 * 26 + torch.tensor([8.0, 3.0])  # in the enlarged photo
    found = identity(Found(points))
    torch.testing.assert_close(found(ramp), ramp, atol=0.004, rtol=0)  # a pixel is 0.05
    found.net.forward = lambda x, **options: (torch.ones_like(x), None, None)
    weight = ((found(ramp) - ramp) / (1 - ramp))[0, 0]
    center = torch.stack([(weight * place).sum() for place in (x, y)]) / weight.sum()
    middle = torch.tensor([8.0, 3.0]) + 255.5 / 512 * 26
    # the release erodes with even windows, which shifts the mask (not the face) a little
    torch.testing.assert_close(center, (middle + 0.5) / 2 - 0.5, atol=0.5, rtol=0)


def test_grey_photos_stay_grey() -> None:
    grey = PHOTO.mean(1, keepdim=True).expand_as(PHOTO)
    assert is_grey(grey[0]) and not is_grey(PHOTO[0])
    found = restorer(Found(POINTS))(grey)
    assert (found[:, 0] - found[:, 2]).abs().max() < 2e-4  # luminance weights add up to 0.9999
    assert (found - grey).abs().max() > 0.01


def test_a_crop_is_grey_beyond_the_photo() -> None:
    matrix = similarity(FFHQ / 512 * 40 - torch.tensor([30.0, 0]), FFHQ / 16)
    crop = aligned(PHOTO[0], matrix, 32)
    torch.testing.assert_close(crop[:, 16, 2], OUTSIDE[:, 0, 0])
    assert not torch.allclose(crop[:, 16, 30], OUTSIDE[:, 0, 0], atol=0.01)


def test_the_gradient_is_that_of_the_aligned_path() -> None:
    """With an identity net the restorer is linear: its Jacobian times d is its change along d."""
    linear = identity(Found(POINTS))
    x, d = PHOTO[:1] * 0.5 + 0.25, DRAWS.normal("d", (3, 64, 80), 1)[:1] * 0.01

    def through(images: Tensor) -> Tensor:
        return linear(images, straight_through=True)

    _, change = torch.autograd.functional.jvp(through, x, d)
    torch.testing.assert_close(change, through(x + d) - through(x), atol=1e-5, rtol=1e-3)


def test_straight_through_reaches_the_photo_and_changes_nothing() -> None:
    real = restorer(Found(POINTS), lambda faces: torch.ones(len(faces), 1, 512, 512))
    x = PHOTO.clone().requires_grad_()
    found = real(x, straight_through=True)
    torch.testing.assert_close(found, real(PHOTO), rtol=1e-3, atol=1e-4)
    face = torch.zeros(64, 80)
    face[24:40, 36:54] = 1
    (slope,) = torch.autograd.grad((found * face).square().sum(), x)
    inside, outside = (slope[..., m].abs() for m in (face.bool(), ~face.bool()))
    assert torch.isfinite(slope).all() and inside.min() >= 0 and inside.mean() > 1e-4
    assert outside.max() > 0  # the net sees the whole crop
    assert slope[..., :2].abs().max() == 0  # what neither the crop nor the loss sees
    assert not real(x).requires_grad


@pytest.mark.full
def test_paste_is_the_releases() -> None:
    """CodeFormer's own helper pastes the same face into the same photo, at twice its size."""
    source = package("codeformer.facelib.utils.face_restoration_helper")
    cv2, np = package("cv2"), package("numpy")
    smooth = resize(DRAWS.uniform("background", (3, 6, 6), 1), (240, 320))[0]
    face = resize(DRAWS.uniform("face", (3, 12, 12), 1), 512)[0]
    turn = torch.tensor([[0.96, -0.28], [0.28, 0.96]])
    points = (FFHQ - 256) / 512 * 170 @ turn.T + torch.tensor([170.0, 120.0])
    matrix = similarity(points, FFHQ)
    classes = torch.zeros(1, 19, 512, 512)
    classes[:, 1, 60:430, 90:400] = 2
    classes[:, 17, 350:] = 3

    helper = source.FaceRestoreHelper.__new__(source.FaceRestoreHelper)
    helper.upscale_factor, helper.face_size, helper.use_parse = 2, (512, 512), True
    helper.device, helper.face_parse = "cpu", lambda x: (classes, None)
    helper.input_img = _bgr(smooth)
    helper.restored_faces = [_bgr(face).astype("float32")]
    back = cv2.invertAffineTransform(matrix.numpy().astype("float64")) * 2
    back[:, 2] -= 0.5  # the release adds a whole pixel where the centers need half of one
    helper.inverse_affine_matrices = [back]
    theirs = torch.from_numpy(np.array(helper.paste_faces_to_input_image())).permute(2, 0, 1)
    theirs = torch.nn.functional.avg_pool2d(theirs.flip(0).float()[None] / 255, 2)[0]

    parsed = (classes[0].argmax(0, keepdim=True) == 1).float()
    ours = paste(smooth, face, matrix, parsed)
    assert (ours - smooth).abs().max() > 0.2
    assert (ours - theirs).abs().max() < 3 / 255


def _bgr(image: Tensor) -> Any:
    return (image.flip(0) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()


@pytest.mark.full
def test_alignment_is_the_releases() -> None:
    source = package("codeformer.facelib.utils.face_restoration_helper")
    smooth = resize(DRAWS.uniform("background", (3, 6, 6), 1), (240, 320))[0]
    points = FFHQ / 512 * 150 + torch.tensor([100.0, 60.0])
    helper = source.FaceRestoreHelper.__new__(source.FaceRestoreHelper)
    helper.face_template, helper.face_size, helper.pad_blur = FFHQ.numpy(), (512, 512), False
    helper.input_img, helper.all_landmarks_5 = _bgr(smooth), [points.numpy()]
    helper.affine_matrices, helper.cropped_faces = [], []
    helper.align_warp_face()
    theirs = torch.from_numpy(helper.cropped_faces[0]).permute(2, 0, 1).flip(0) / 255
    ours = aligned(smooth, similarity(points, FFHQ), 512)
    assert (ours - theirs).abs().mean() < 1 / 255 and (ours - theirs).abs().max() < 4 / 255


@pytest.mark.full
@pytest.mark.slow
def test_the_net_is_spandrels() -> None:
    """Equal weights, equal picture, at full size."""
    arch = package("spandrel_extra_arches").architectures.CodeFormer.CodeFormerArch
    torch.manual_seed(0)
    ours = CodeFormer(OFFICIAL).eval()
    torch.nn.init.normal_(ours.quantize.embedding.weight)
    theirs = arch().load(ours.state_dict()).model.eval()
    x = DRAWS.uniform("face", (3, 512, 512), 1) * 2 - 1
    with torch.no_grad():
        wanted, found = theirs(x, weight=0.5, adain=True)[0], ours(x, w=0.5, adain=True)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.large
def test_a_forward_at_full_size() -> None:
    """512 pixels on the CPU: its seconds and the peak of the process are printed (pytest -s)."""
    torch.manual_seed(0)
    net = CodeFormer(OFFICIAL).eval()
    x = DRAWS.uniform("face", (3, 512, 512), 1) * 2 - 1
    began, busy = time.perf_counter(), time.process_time()
    with torch.no_grad():
        image = net(x)[0]
    seconds, used = time.perf_counter() - began, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"CodeFormer, 512 px: {seconds:.1f} s, {used:.1f} s of CPU, peak {peak:.2f} GiB")
    assert image.shape == x.shape and torch.isfinite(image).all() and peak < 8
