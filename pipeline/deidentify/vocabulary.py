"""Words that name no one: body parts, planes, sequences, kinds of image. Descriptions are cleaned down to these."""

import re

WORD = re.compile(r"[^\W_]+")

BODY = """abdomen abdominal abdpelvis aorta arm artery ankle axilla bladder body bone bowel brain breast bronchus
calcaneus calf carotid cerebellum cerebral cervical cervix cheek chest circle clavicle coccyx colon coronary cornea
cranial cspine duodenum ear elbow esophagus extremity eye eyelid face femur fibula finger foot forearm gallbladder
groin hand head headneck heart hip humerus ileum ilium jaw jejunum joint kidney knee larynx leg liver lower lspine
lumbar lung lungs mandible maxilla mediastinum mouth neck nose orbit ovary pancreas parotid patella pelvis pelvic
penis pharynx prostate radius rectum rib ribs sacrum scalp scapula sella sellar shoulder sinus sinuses skull spine
spinal spleen sspine sternum stomach tblspine temporal testis thigh thorax thoracic throat thumb thymus thyroid tibia
tmj toe tongue trachea tspine tstspine ulna upper ureter urethra uterus vagina vein vulva wholebody wrist zygoma"""
PLACE = """anterior ap axial bilateral cor coronal decubitus dorsal erect feet first frontal image images inferior lao
lat lateral left ll lpo mlo oblique pa plane portable posterior prone rao right rl rpo sag sagittal supine tangential
tra trans transversal transverse upright cc xcc view views"""
METHOD = """adc angio angiography arterial art asl bolus bone cbct ce cine cmpr contrast ct cta ctdi cut delayed dce
dicom diffusion dixon dose dti dual dwi dynamic echo ecg edge enhanced epi fast fat fatsat fdg ffe fiesta filter fixed
flair flash fmri fov frame frames fs fse full gad gadolinium gated gating gd gradient gre haste hr hrct inphase ir iso
kernel keyframe kv lava localizer localiser loc low mag map maximum medium mg minimum mip mr mra mri mpr mprage multi
native nac nativ nm non oph opposed out pc pd perfusion pet phantom phase plain portal post pre proj projection proton
raw recon reconstruction reformat rest saturation scan scanogram scout screening se series sequence sharp slab slice
slices smooth soft space spect spgr spin spiral ssfp standard stat std stir stress study survey suv swi t1 t1w t2 t2w
te thick thin time tir tirm tissue tof tomo topogram tr tse turbo us venous vibe vol volume water weighted whole
window with without wo xa xr"""
TERMS = """original primary derived secondary mixed none other axial mono subtraction quality retrospective m p r i
norm nd dis2d dis3d ffe se magnitude real imaginary yes no"""
WORDS = frozenset(f"{BODY} {PLACE} {METHOD} {TERMS}".split())


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case; digits count as letters."""
    return [word.casefold() for word in WORD.findall(text)]


def clean_description(text: str) -> str:
    """The words of a description that are in the vocabulary, in their order and in upper case."""
    return " ".join(word.upper() for word in words_of(text) if word in WORDS)[:64].strip()


def names_body_part(text: str) -> bool:
    """Whether every word is in the vocabulary."""
    words = words_of(text)
    return bool(words) and all(word in WORDS for word in words)
