"""Transforms as ITK and FSL write them, made by hand: formats are spelled out, no library writes them."""

import h5py
import numpy as np

LPS = np.diag([-1.0, -1, 1, 1])


def itk_numbers(matrix, centre=(0, 0, 0)):
    """The twelve parameters of a RAS+ matrix in ITK's LPS world, around a centre (LPS)."""
    lps = LPS @ matrix @ LPS
    offset = lps[:3, 3] - np.asarray(centre) + lps[:3, :3] @ centre
    return np.concatenate([lps[:3, :3].ravel(), offset])


def itk_text(path, matrix, centre=(0, 0, 0), kind="AffineTransform_double_3_3"):
    numbers = " ".join(repr(float(n)) for n in itk_numbers(matrix, centre))
    fixed = " ".join(map(str, centre))
    path.write_text(
        f"#Insight Transform File V1.0\n#Transform 0\nTransform: {kind}\nParameters: {numbers}\n"
        f"FixedParameters: {fixed}\n"
    )


def itk_mat(path, matrix, centre=(0, 0, 0), kind="AffineTransform_double_3_3"):
    from scipy.io import savemat

    numbers = itk_numbers(matrix, centre)[:, None]
    savemat(path, {kind: numbers, "fixed": np.array(centre, float)[:, None]}, format="4")


def composite(path, *parts):
    """Write parts, of which the last applies to the reference first: affines, or fields with affine.

    A part is a RAS+ matrix, or a pair of displacements ``[I, J, K, 3]`` (mm, RAS+) and affine.
    """
    text = h5py.string_dtype("ascii", 40)
    with h5py.File(path, "w") as file:
        group = file.create_group("TransformGroup")
        one = group.create_group("0")
        one.create_dataset("TransformType", data=[b"CompositeTransform_double_3_3"], dtype=text)
        for number, part in enumerate(parts, 1):
            one = group.create_group(str(number))
            if isinstance(part, tuple):
                moves, affine = part
                place, sizes = LPS @ affine, np.linalg.norm(affine[:3, :3], axis=0)
                fixed = [*moves.shape[:3], *place[:3, 3], *sizes, *(place[:3, :3] / sizes).ravel()]
                # Components first, then i, j, k.
                numbers = (moves * [-1, -1, 1]).transpose(2, 1, 0, 3).ravel()
                kind = b"DisplacementFieldTransform_double_3_3"
            else:
                centre = np.array([3.0, -2, 5])
                numbers, fixed, kind = itk_numbers(part, centre), centre, b"AffineTransform_double_3_3"
            one.create_dataset("TransformType", data=[kind], dtype=text)
            one.create_dataset("TransformParameters", data=np.asarray(numbers, float))
            one.create_dataset("TransformFixedParameters", data=np.asarray(fixed, float))


def fsl_mat(path, matrix, moving, reference):
    """The matrix of FLIRT from a RAS+ matrix that maps places of the reference to those of the image."""

    def world_to_fsl(affine, shape):
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        scaled = np.diag([*sizes, 1])
        if np.linalg.det(affine) > 0:  # FSL counts the first axis from the other end
            flip = np.diag([-1.0, 1, 1, 1])
            flip[0, 3] = (shape[0] - 1) * sizes[0]
            scaled = flip @ scaled
        return scaled @ np.linalg.inv(affine)

    there = np.linalg.inv(matrix)  # FLIRT's leads from the image to the reference
    found = world_to_fsl(*reference) @ there @ np.linalg.inv(world_to_fsl(*moving))
    path.write_text("\n".join("  ".join(f"{n:.10f}" for n in row) for row in found) + "\n")
